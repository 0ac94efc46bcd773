#include "planner/solve/placement/placement_referee.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace stowage {
namespace {

constexpr double kCannot = 1e6;

class BruteForce {
 public:
  BruteForce(const PlacementProblem& p, const std::vector<int>& order)
      : p_(p),
        cpu_(static_cast<int>(p.devices.size())),
        rank_(cpu_ + 1),
        where_(p.units.size()),
        kept_(p.units.size()) {
    for (int i = 0; i < cpu_; ++i) rank_[order[i]] = i;
    partner_.assign(p.units.size(), -1);
    tied_.assign(p.units.size(), false);
    for (const ChainTie& tie : p.ties) {
      for (const int u : tie.units) tied_[u] = true;
      for (const int u : tie.units) partner_[u] = tie.units[0];
    }
  }

  std::optional<double> Run() {
    Place(0, -1, false);
    return best_;
  }

 private:
  // `current`: rank of the device whose run it is; `left`: the CPU has computed something since.
  void Place(std::size_t u, int current, bool left) {
    if (u == p_.units.size()) {
      Judge();
      return;
    }
    for (int d = 0; d <= cpu_; ++d) {
      int now = current;
      bool away = left;
      if (!tied_[u] && d < cpu_) {
        if (rank_[d] < current || (rank_[d] == current && left)) continue;
        now = rank_[d];
        away = false;
      }
      if (!tied_[u] && d == cpu_) away = true;
      for (int kept = 0; kept < 3; ++kept) {
        if (d == cpu_ && kept != 1) continue;
        where_[u] = d;
        kept_[u] = kept;
        if (tied_[u] && partner_[u] < static_cast<int>(u) && (where_[partner_[u]] != d || kept_[partner_[u]] != kept)) {
          continue;
        }
        Place(u + 1, now, away);
      }
    }
  }

  std::int64_t WeightOf(std::size_t u) const {
    std::int64_t w = p_.units[u].weights.value();
    for (const ChainTie& tie : p_.ties) {
      const bool later = std::find(tie.units.begin() + 1, tie.units.end(), static_cast<int>(u)) != tie.units.end();
      if (later) w -= tie.shared.value();
    }
    return w;
  }

  void Judge() {
    const std::size_t n = p_.units.size();
    std::int64_t host = 0, disk = 0, most = 0;
    for (std::size_t u = 0; u < n; ++u) {
      if (kept_[u] == 1) host += WeightOf(u) + (where_[u] == cpu_ ? p_.units[u].state.value() : 0);
      if (kept_[u] == 2) disk += WeightOf(u);
    }
    if (host > std::max<std::int64_t>(0, (p_.host_budget - p_.host_workspace).value())) return;
    if (disk > p_.disk_budget.value()) return;
    for (int d = 0; d < cpu_; ++d) {
      std::int64_t sum = 0, transient = 0, staging = 0;
      bool any = false;
      for (std::size_t u = 0; u < n; ++u) {
        if (where_[u] != d) continue;
        any = true;
        sum += p_.units[u].state.value() + (kept_[u] == 0 ? WeightOf(u) : 0);
        transient = std::max(transient, p_.units[u].transient.value());
        if (kept_[u] != 0) staging = std::max(staging, p_.units[u].staging.value());
      }
      const std::int64_t used = any ? sum + transient + staging + p_.devices[d].workspace.value() : 0;
      if (used > p_.devices[d].budget.value()) return;
      most = std::max(most, used);
    }
    const std::optional<double> value = Value(most);
    if (value && (!best_ || *value < *best_)) best_ = value;
  }

  std::optional<double> Value(std::int64_t most) const {
    std::vector<double> load(cpu_ + 1, 0);
    for (std::size_t u = 0; u < p_.units.size(); ++u) {
      const ChainUnit& unit = p_.units[u];
      const int d = where_[u];
      double t = d == cpu_ ? unit.cpu_seconds.value() : unit.seconds[d].value();
      if (d < cpu_ && kept_[u] == 1) t += unit.host_stream[d].value();
      if (d < cpu_ && kept_[u] == 2) t += unit.disk_stream[d].value();
      if (t >= kCannot) return std::nullopt;
      if (u > 0 && where_[u - 1] != d) {
        const bool free = p_.objective == PlacementObjective::kThroughput && (tied_[u] || tied_[u - 1]);
        const ChainLink& link = p_.links[where_[u - 1]][d];
        const auto bytes = static_cast<double>(p_.units[u - 1].boundary.value());
        if (!free) t += link.latency.value() + bytes / link.rate.value();
      }
      load[d] += t;
    }
    if (p_.objective == PlacementObjective::kMemory) return static_cast<double>(most);
    if (p_.objective == PlacementObjective::kThroughput) return *std::max_element(load.begin(), load.end());
    return std::accumulate(load.begin(), load.end(), 0.0);
  }

  const PlacementProblem& p_;
  int cpu_;
  std::vector<int> rank_, where_, kept_, partner_;
  std::vector<bool> tied_;
  std::optional<double> best_;
};

}  // namespace

std::optional<double> BruteForcePlacement(const PlacementProblem& problem) {
  std::vector<int> order(problem.devices.size());
  std::iota(order.begin(), order.end(), 0);
  std::optional<double> best;
  do {
    const std::optional<double> value = BruteForce(problem, order).Run();
    if (value && (!best || *value < *best)) best = value;
  } while (problem.any_order && std::next_permutation(order.begin(), order.end()));
  return best;
}

}  // namespace stowage

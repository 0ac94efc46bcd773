#include "planner/solve/placement/orders.h"

#include <algorithm>

#include "planner/solve/placement/row.h"

namespace stowage::placement {
namespace {

bool SameLink(const ChainLink& a, const ChainLink& b) { return a.latency == b.latency && a.rate == b.rate; }

bool Alike(const PlacementProblem& p, std::size_t a, std::size_t b) {
  if (p.devices[a].budget != p.devices[b].budget || p.devices[a].workspace != p.devices[b].workspace) return false;
  for (const ChainUnit& u : p.units) {
    if (u.seconds[a] != u.seconds[b] || u.host_stream[a] != u.host_stream[b] || u.disk_stream[a] != u.disk_stream[b]) {
      return false;
    }
  }
  for (std::size_t x = 0; x < p.links.size(); ++x) {
    if (x == a || x == b) continue;
    if (!SameLink(p.links[a][x], p.links[b][x]) || !SameLink(p.links[x][a], p.links[x][b])) return false;
  }
  return SameLink(p.links[a][b], p.links[b][a]);
}

}  // namespace

PlacementProblem Permuted(const PlacementProblem& problem, const std::vector<std::int32_t>& order) {
  PlacementProblem p = problem;
  const std::size_t n = order.size();
  const auto at = [&](std::size_t i) { return i < n ? static_cast<std::size_t>(order[i]) : n; };
  for (std::size_t i = 0; i < n; ++i) {
    p.devices[i] = problem.devices[at(i)];
    for (std::size_t u = 0; u < p.units.size(); ++u) {
      p.units[u].seconds[i] = problem.units[u].seconds[at(i)];
      p.units[u].host_stream[i] = problem.units[u].host_stream[at(i)];
      p.units[u].disk_stream[i] = problem.units[u].disk_stream[at(i)];
    }
  }
  for (std::size_t a = 0; a <= n; ++a) {
    for (std::size_t b = 0; b <= n; ++b) p.links[a][b] = problem.links[at(a)][at(b)];
  }
  return p;
}

Orders::Orders(const PlacementProblem& problem) {
  for (std::size_t d = 0; d < problem.devices.size(); ++d) {
    std::size_t c = 0;
    while (c < d && !Alike(problem, c, d)) ++c;
    class_of_.push_back(c < d ? class_of_[c] : static_cast<int>(d));
  }
  classes_ = class_of_;
  std::sort(classes_.begin(), classes_.end());
}

bool Orders::Next() {
  if (started_ && !std::next_permutation(classes_.begin(), classes_.end())) return false;
  started_ = true;
  order_.clear();
  std::vector<bool> used(class_of_.size(), false);
  for (const int c : classes_) {
    std::size_t d = 0;
    while (used[d] || class_of_[d] != c) ++d;
    used[d] = true;
    order_.push_back(static_cast<std::int32_t>(d));
  }
  return true;
}

Time OrderFreeBound(const PlacementProblem& problem) {
  const Tables t = MakeTables(problem, {}, true);
  const int n = t.n, runs = t.devices;
  const auto join = [&](Time a, Time b) { return t.latency() ? std::min(a + b, kInfinite) : std::max(a, b); };
  // best[i][k]: units from i on, k runs left
  std::vector<std::vector<Time>> best(n + 1, std::vector<Time>(runs + 1, kInfinite));
  std::fill(best[n].begin(), best[n].end(), 0);
  std::vector<Time> least(n + 1);
  std::vector<RunRow> rows;
  rows.reserve(t.devices);
  for (int d = 0; d < t.devices; ++d) rows.emplace_back(t, d);
  for (int i = n - 1; i >= 0; --i) {
    std::fill(least.begin(), least.end(), kInfinite);
    for (int d = 0; d < t.devices; ++d) {
      if (t.device_class[d] != d) continue;
      rows[d].MoveTo(i);
      for (int e = i + 1; e <= rows[d].last(); ++e) least[e] = std::min(least[e], rows[d].At(e));
    }
    const bool cpu = t.compute[t.devices][i] < kNever;
    for (int k = 0; k <= runs; ++k) {
      Time& value = best[i][k];
      if (cpu) value = join(t.compute[t.devices][i], best[i + 1][k]);
      for (int e = i + 1; k > 0 && e <= n; ++e) value = std::min(value, join(least[e], best[e][k - 1]));
    }
  }
  return best[0][runs];
}

}  // namespace stowage::placement

#include "planner/solve/placement/tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

namespace stowage::placement {
namespace {

Time TimeOf(const PlacementProblem& problem, Seconds s) {
  const Time t = Picoseconds(s);
  return problem.objective == PlacementObjective::kMemory && t < kNever ? 0 : t;
}

class Maker {
 public:
  Maker(const PlacementProblem& problem, const std::vector<Home>& homes, bool relaxed)
      : problem_(problem), relaxed_(relaxed) {
    t_.n = static_cast<int>(problem.units.size());
    t_.devices = static_cast<int>(problem.devices.size());
    t_.objective = problem.objective;
    t_.home_of.assign(t_.n, -1);
    pinned_.assign(t_.n, false);
    t_.host_room = (problem.host_budget - problem.host_workspace).value();
    t_.disk_room = problem.disk_budget.value();
    if (t_.host_room < 0) t_.host_room = 0;
    Devices();
    for (std::size_t i = 0; i < problem.ties.size(); ++i) Pin(problem.ties[i], relaxed ? Home{} : homes[i]);
    Units();
    Kinds();
    Hops();
    Rooms();
    Further();
    t_.SetPrices({}, {});
    Classes();
  }

  Tables Take() { return std::move(t_); }

 private:
  void Devices() {
    for (const ChainDevice& d : problem_.devices) {
      t_.budget.push_back(d.budget.value());
      t_.fixed.push_back(d.workspace.value());
    }
    t_.pinned_transient.assign(t_.devices, 0);
    t_.pinned_staging.assign(t_.devices, 0);
    t_.pinned_time.assign(t_.devices + 1, 0);
  }

  void Pin(const ChainTie& tie, Home home) {
    for (const std::int32_t u : tie.units) pinned_[u] = true;
    if (relaxed_) return;
    const bool cpu = home.device == t_.devices;
    const auto extra = static_cast<std::int64_t>(tie.units.size()) - 1;
    std::int64_t weights = -extra * tie.shared.value();
    std::int64_t state = 0;
    for (const std::int32_t u : tie.units) {
      const ChainUnit& unit = problem_.units[u];
      t_.home_of[u] = home.device;
      weights += unit.weights.value();
      state += unit.state.value();
      Time& time = t_.pinned_time[home.device];
      Time took = TimeOf(problem_, cpu ? unit.cpu_seconds : unit.seconds[home.device]);
      if (!cpu && home.weights == KeptOn::kHost) took += TimeOf(problem_, unit.host_stream[home.device]);
      if (!cpu && home.weights == KeptOn::kDisk) took += TimeOf(problem_, unit.disk_stream[home.device]);
      if (took >= kNever) t_.fits = false;
      time += std::min(took, kNever / 1024);
      if (cpu) continue;
      auto& transient = t_.pinned_transient[home.device];
      transient = std::max(transient, unit.transient.value());
      auto& staging = t_.pinned_staging[home.device];
      if (home.weights != KeptOn::kDevice) staging = std::max(staging, unit.staging.value());
    }
    if (cpu || home.weights == KeptOn::kHost) t_.host_room -= weights + (cpu ? state : 0);
    if (!cpu && home.weights == KeptOn::kDisk) t_.disk_room -= weights;
    if (!cpu) t_.fixed[home.device] += state + (home.weights == KeptOn::kDevice ? weights : 0);
    if (t_.host_room < 0 || t_.disk_room < 0) t_.fits = false;
    if (!cpu && t_.fixed[home.device] + t_.pinned_transient[home.device] + t_.pinned_staging[home.device] >
                    t_.budget[home.device]) {
      t_.fits = false;
    }
  }

  void Units() {
    t_.compute.assign(t_.devices + 1, std::vector<Time>(t_.n, 0));
    t_.before.assign(t_.devices + 1, std::vector<Time>(t_.n + 1, 0));
    for (int u = 0; u < t_.n; ++u) {
      const ChainUnit& unit = problem_.units[u];
      t_.weights.push_back(pinned_[u] ? 0 : unit.weights.value());
      t_.state.push_back(pinned_[u] ? 0 : unit.state.value());
      t_.transient.push_back(pinned_[u] ? 0 : unit.transient.value());
      if (pinned_[u]) continue;
      for (int d = 0; d < t_.devices; ++d) t_.compute[d][u] = TimeOf(problem_, unit.seconds[d]);
      const bool room = t_.weights[u] + t_.state[u] <= t_.host_room;
      t_.compute[t_.devices][u] = room ? TimeOf(problem_, unit.cpu_seconds) : kNever;
    }
    for (int d = 0; d <= t_.devices; ++d) {
      for (int u = 0; u < t_.n; ++u) {
        t_.before[d][u + 1] = t_.before[d][u] + (t_.compute[d][u] < kNever ? t_.compute[d][u] : 0);
      }
    }
  }

  void Kinds() {
    std::map<std::tuple<std::int64_t, std::int64_t, std::vector<Time>, std::vector<Time>>, int> known;
    t_.kind_of.assign(t_.n, -1);
    for (int u = 0; u < t_.n; ++u) {
      if (pinned_[u]) continue;
      const ChainUnit& unit = problem_.units[u];
      Kind k{t_.weights[u], unit.staging.value(), {}, {}, false};
      for (int d = 0; d < t_.devices; ++d) {
        k.host.push_back(k.weights <= t_.host_room ? TimeOf(problem_, unit.host_stream[d]) : kNever);
        k.disk.push_back(k.weights <= t_.disk_room ? TimeOf(problem_, unit.disk_stream[d]) : kNever);
      }
      k.host_first = t_.latency();
      for (int d = 0; d < t_.devices; ++d) {
        k.host_first &= k.host[d] < kNever && k.disk[d] < kNever && k.disk[d] >= k.host[d] &&
                        k.disk[d] - k.host[d] == k.disk[0] - k.host[0];
      }
      const auto [at, added] = known.try_emplace({k.weights, k.staging, k.host, k.disk}, t_.kinds.size());
      if (added) t_.kinds.push_back(std::move(k));
      t_.kind_of[u] = at->second;
    }
    if (t_.kinds.size() > 64) {
      for (Kind& k : t_.kinds) k.host_first = false;  // a label has 64 bits for them
    }
    t_.counts.assign(t_.kinds.size() * (t_.n + 1), 0);
    for (std::size_t k = 0; k < t_.kinds.size(); ++k) {
      int* row = &t_.counts[k * (t_.n + 1)];
      for (int u = 0; u < t_.n; ++u) row[u + 1] = row[u] + (t_.kind_of[u] == static_cast<int>(k) ? 1 : 0);
    }
  }

  Time Hop(int from, int to, int i) const {  // from unit i - 1 to unit i if they ran on `from` and `to`
    if (i == 0 || problem_.objective == PlacementObjective::kMemory) return 0;
    const bool tied = pinned_[i - 1] || pinned_[i];
    if (tied && (relaxed_ || problem_.objective == PlacementObjective::kThroughput)) return 0;
    const int a = t_.home_of[i - 1] >= 0 ? t_.home_of[i - 1] : from;
    const int b = t_.home_of[i] >= 0 ? t_.home_of[i] : to;
    if (a == b) return 0;
    const ChainLink& link = problem_.links[a][b];
    return Picoseconds(link.latency + problem_.units[i - 1].boundary / link.rate);
  }

  void Hops() {
    const int all = t_.devices + 1;
    t_.hop.assign(all, std::vector<std::vector<Time>>(all, std::vector<Time>(t_.n + 1, 0)));
    for (int a = 0; a < all; ++a) {
      for (int b = 0; b < all; ++b) {
        Time plain = -1;  // between untied units; the same again while the boundary is
        for (int i = 1; i < t_.n; ++i) {
          const bool tied = pinned_[i - 1] || pinned_[i];
          const bool same = plain >= 0 && problem_.units[i - 1].boundary == problem_.units[i - 2].boundary;
          t_.hop[a][b][i] = !tied && same ? plain : Hop(a, b, i);
          plain = tied ? -1 : t_.hop[a][b][i];
        }
      }
    }
    t_.inner.assign(all, std::vector<Time>(t_.n + 1, 0));
    for (int d = 0; d < all; ++d) {
      for (int i = 0; i < t_.n; ++i) t_.inner[d][i + 1] = t_.inner[d][i] + t_.hop[d][d][i];
    }
    if (t_.latency()) return;
    t_.least_hop.assign(t_.devices, std::vector<Time>(t_.n + 1, t_.memory() ? 0 : kInfinite));
    for (int to = 0; to < t_.devices; ++to) {
      for (int from = 0; from < all; ++from) {  // one before it, or the CPU
        if (from >= to && from != t_.devices) continue;
        for (int i = 0; i <= t_.n; ++i) t_.least_hop[to][i] = std::min(t_.least_hop[to][i], t_.hop[from][to][i]);
      }
    }
  }

  void Rooms() {
    std::int64_t host = 0, disk = 0;
    t_.host_after.assign(t_.n + 1, 0);
    for (int u = t_.n - 1; u >= 0; --u) {
      const bool cpu = t_.compute[t_.devices][u] < kNever;
      host += t_.weights[u] + (cpu ? t_.state[u] : 0);
      disk += t_.weights[u];
      t_.host_after[u] = host;
    }
    t_.host_binds = host > t_.host_room;
    t_.disk_binds = disk > t_.disk_room;
    if (t_.memory() && !t_.disk_binds) DiskFirst();
  }

  // Times do not count and there is room on the disk: what can be read from it leaves the host alone.
  void DiskFirst() {
    bool all = true;
    for (Kind& k : t_.kinds) {
      for (int d = 0; d < t_.devices; ++d) {
        if (k.disk[d] < kNever) k.host[d] = kNever;
        all = all && (k.disk[d] < kNever || k.weights == 0);
      }
      k.host_first = false;
    }
    bool computes = false;
    for (int u = 0; u < t_.n; ++u) {
      computes = computes || (t_.compute[t_.devices][u] < kNever && t_.weights[u] + t_.state[u] > 0);
    }
    t_.disk_first = all;
    t_.host_binds = t_.host_binds && (!all || computes);
  }

  // The hop into `to` before unit i is the same from everywhere.
  bool SameHops(int to, int i) const {
    const int some = to == 0 ? 1 : 0;
    for (int from = 0; from <= t_.devices; ++from) {
      if (from != to && t_.hop[from][to][i] != t_.hop[some][to][i]) return false;
    }
    return true;
  }
  bool AlikeAt(int i) const {
    for (int to = 0; to <= t_.devices; ++to) {
      const int some = to == 0 ? 1 : 0;
      if (!SameHops(to, i) || (i < t_.n && t_.hop[some][to][i] < t_.hop[some][to][i + 1])) return false;
    }
    return true;
  }
  bool ShrinkAt(int i) const {
    return i == t_.n || std::all_of(t_.least_hop.begin(), t_.least_hop.end(),
                                    [i](const std::vector<Time>& hop) { return hop[i] >= hop[i + 1]; });
  }
  void Further() {
    for (int i = 0; i <= t_.n; ++i) {
      bool alike = true;
      for (int to = 0; to < t_.devices && alike; ++to) alike = SameHops(to, i);
      t_.hops_alike.push_back(alike ? 1 : 0);
    }
    if (t_.latency()) return;
    t_.alike_from = t_.shrink_from = t_.n + 1;
    while (t_.alike_from > 0 && AlikeAt(t_.alike_from - 1)) --t_.alike_from;
    while (t_.shrink_from > 0 && ShrinkAt(t_.shrink_from - 1)) --t_.shrink_from;
  }

  bool Alike(int a, int b) const {
    if (t_.budget[a] != t_.budget[b] || t_.fixed[a] != t_.fixed[b] || t_.compute[a] != t_.compute[b] ||
        t_.inner[a] != t_.inner[b] || t_.pinned_transient[a] != t_.pinned_transient[b] ||
        t_.pinned_staging[a] != t_.pinned_staging[b] || t_.pinned_time[a] != t_.pinned_time[b]) {
      return false;
    }
    return std::all_of(t_.kinds.begin(), t_.kinds.end(),
                       [&](const Kind& k) { return k.host[a] == k.host[b] && k.disk[a] == k.disk[b]; });
  }
  void Classes() {
    for (int d = 0; d < t_.devices; ++d) {
      int c = 0;
      while (c < d && !Alike(c, d)) ++c;
      t_.device_class.push_back(c);
    }
  }

  const PlacementProblem& problem_;
  bool relaxed_;
  std::vector<bool> pinned_;
  Tables t_;
};

}  // namespace

Time Picoseconds(Seconds s) {
  const double ps = s.value() * 1e12;
  return ps < static_cast<double>(kNever) ? std::llround(ps) : kNever;
}

void Tables::SetPrices(std::vector<Time> host, std::vector<Time> cpu) {
  host_price = std::move(host);
  cpu_price = std::move(cpu);
  stream.assign(devices, {});
  disk_stream.assign(devices, {});
  for (int d = 0; d < devices; ++d) {
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      stream[d].push_back(std::min(kinds[k].host[d] + HostPrice(static_cast<int>(k)), kinds[k].disk[d]));
      disk_stream[d].push_back(kinds[k].disk[d] < kNever ? kinds[k].disk[d] : kinds[k].host[d]);
    }
  }
}

Tables MakeTables(const PlacementProblem& problem, const std::vector<Home>& homes, bool relaxed) {
  return Maker(problem, homes, relaxed).Take();
}

}  // namespace stowage::placement

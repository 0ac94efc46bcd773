#include "planner/solve/placement/bounds.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "planner/solve/placement/row.h"

namespace stowage::placement {
namespace {

std::vector<std::vector<Time>> Grid(int rows, int n) {
  return std::vector<std::vector<Time>>(rows, std::vector<Time>(n + 1, kInfinite));
}

// A row of run bounds for each class of devices.
std::vector<RunRow> RowsOf(const Tables& t) {
  std::vector<RunRow> rows;
  rows.reserve(t.devices);
  for (int d = 0; d < t.devices; ++d) {
    if (t.device_class[d] == d) rows.emplace_back(t, d);
  }
  return rows;
}

Time OnCpu(const Tables& t, int i) {
  const Time time = t.compute[t.devices][i];
  return time >= kNever ? kInfinite : time + t.CpuPrice(i);
}

// What remains at least when device q starts with the unit at which `row` is.
Time Enter(const Tables& t, int q, int i, const RunRow& row, const std::vector<Time>& runs,
           const std::vector<Time>& rest) {
  Time best = kInfinite;
  if (t.limited()) {
    const int last = row.EndWithin(t.limit - t.least_hop[q][i]);
    for (int e = i + 1; e <= last; ++e) best = std::min(best, rest[e]);
  } else if (t.latency()) {
    for (int e = i + 1; e <= row.last(); ++e) best = std::min(best, runs[e] + rest[e]);
  } else {
    const Time hop = t.memory() ? 0 : t.least_hop[q][i];
    for (int e = i + 1; e <= row.last(); ++e) best = std::min(best, std::max(runs[e] + hop, rest[e]));
  }
  return std::min(best, kInfinite);
}

Rest NothingYet(const Tables& t) {
  Rest rest{Grid(t.devices, t.n), Grid(t.devices + 1, t.n), Grid(t.devices, t.n)};
  for (auto& row : rest.gpu) row[t.n] = 0;
  for (auto& row : rest.cpu) row[t.n] = 0;
  return rest;
}

// Unit i's places of `rest`, once those of all devices that start with it are known. `computed`: the layer after the
// CPU computed it; nullptr: it cannot.
void Leave(const Tables& t, int i, const Rest* computed, Rest& rest) {
  const int cpu = t.devices;
  const Time on_cpu = computed == nullptr ? kInfinite : OnCpu(t, i);
  Time any = kInfinite;  // of the devices after p
  for (int p = cpu - 1; p >= -1; --p) {
    if (p + 1 < cpu) any = std::min(any, rest.enter[p + 1][i]);
    Time from_cpu = any, from_gpu = any;
    if (t.latency()) {
      from_cpu = from_gpu = kInfinite;
      for (int q = p + 1; q < cpu; ++q) {
        from_cpu = std::min(from_cpu, Join(t, HopInto(t, cpu, q, i), rest.enter[q][i]));
        if (p >= 0) from_gpu = std::min(from_gpu, Join(t, HopInto(t, p, q, i), rest.enter[q][i]));
      }
    }
    if (on_cpu < kInfinite) {
      const Time more = Join(t, on_cpu, computed->cpu[p + 1][i + 1]);
      from_cpu = std::min(from_cpu, Join(t, HopInto(t, cpu, cpu, i), more));
      if (p >= 0) from_gpu = std::min(from_gpu, Join(t, HopInto(t, p, cpu, i), more));
    }
    rest.cpu[p + 1][i] = from_cpu;
    if (p >= 0) rest.gpu[p][i] = from_gpu;
  }
}

// Bytes of a level: the commonest unit's that the CPU may compute. 0: layers are of no use, or there would be too many.
std::int64_t LevelOf(const Tables& t) {
  constexpr std::int64_t kMostLayers = 40;
  if (!t.latency() || !t.host_binds) return 0;
  std::map<std::int64_t, int> counts;
  for (int u = 0; u < t.n; ++u) {
    if (t.compute[t.devices][u] < kNever && t.weights[u] + t.state[u] > 0) ++counts[t.weights[u] + t.state[u]];
  }
  if (counts.empty()) return 0;
  const auto commonest =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return t.host_room / commonest->first < kMostLayers ? commonest->first : 0;
}

struct Prices {
  std::vector<Time> host, cpu;
};

Prices AtRate(const Tables& t, double rate) {
  Prices p;
  for (const Kind& k : t.kinds) p.host.push_back(static_cast<Time>(rate * static_cast<double>(k.weights)));
  for (int u = 0; u < t.n; ++u) {
    p.cpu.push_back(static_cast<Time>(rate * static_cast<double>(t.weights[u] + t.state[u])));
  }
  return p;
}

// Rates at which a unit is indifferent, at most four of them.
std::vector<double> SomeRates(const Tables& t) {
  std::set<double> rates;
  const auto add = [&](Time gain, std::int64_t bytes) {
    if (gain > 0 && bytes > 0) rates.insert(static_cast<double>(gain) / static_cast<double>(bytes));
  };
  for (const Kind& k : t.kinds) {
    for (int d = 0; d < t.devices; ++d) {
      if (k.disk[d] < kNever && k.host[d] < kNever) add(k.disk[d] - k.host[d], k.weights);
    }
  }
  for (int u = 0; u < t.n; ++u) {
    const Time cpu = t.compute[t.devices][u];
    if (cpu >= kNever || t.kind_of[u] < 0 || (u > 0 && t.kind_of[u] == t.kind_of[u - 1])) continue;
    for (int d = 0; d < t.devices; ++d) {
      const Time disk = t.kinds[t.kind_of[u]].disk[d];
      if (disk < kNever && t.compute[d][u] < kNever) add(disk + t.compute[d][u] - cpu, t.weights[u] + t.state[u]);
    }
  }
  std::vector<double> some;
  const std::size_t step = (rates.size() + 3) / 4;
  std::size_t i = 0;
  for (const double rate : rates) {
    if (i++ % step == 0) some.push_back(rate);
  }
  return some;
}

// What a unit gains by being in host memory instead of on the disk, on the device where that is least.
Prices Gains(const Tables& t) {
  Prices p;
  p.host.assign(t.kinds.size(), 0);
  p.cpu.assign(t.n, 0);
  for (std::size_t k = 0; k < t.kinds.size(); ++k) {
    const Kind& kind = t.kinds[k];
    Time least = kNever;
    for (int d = 0; d < t.devices; ++d) {
      if (kind.host[d] < kNever && kind.disk[d] < kNever) least = std::min(least, kind.disk[d] - kind.host[d]);
    }
    if (least < kNever && kind.weights > 0) p.host[k] = std::max<Time>(0, least);
  }
  for (int u = 0; u < t.n; ++u) {
    Time least = kNever;
    for (int d = 0; d < t.devices && t.kind_of[u] >= 0; ++d) {
      const Time disk = t.kinds[t.kind_of[u]].disk[d];
      if (disk < kNever && t.compute[d][u] < kNever) least = std::min(least, disk + t.compute[d][u]);
    }
    const Time cpu = t.compute[t.devices][u];
    if (least < kNever && cpu < least && t.weights[u] + t.state[u] > 0) p.cpu[u] = least - cpu;
  }
  return p;
}

}  // namespace

Bounds MakeBounds(const Tables& t, bool layered) {
  const int d = t.devices, n = t.n;
  Bounds b;
  b.level = layered ? LevelOf(t) : 0;
  b.layers.assign(b.level > 0 ? t.host_room / b.level + 1 : 1, NothingYet(t));
  std::vector<RunRow> rows = RowsOf(t);
  std::vector<Time> runs(n + 1);
  for (int i = n - 1; i >= 0; --i) {
    std::size_t row = 0;
    for (int c = 0; c < d; ++c) {
      if (t.device_class[c] != c) continue;
      RunRow& r = rows[row++];
      r.MoveTo(i);
      for (int e = i + 1; e <= r.last() && !t.limited(); ++e) runs[e] = r.At(e);
      for (int q = c; q < d; ++q) {
        if (t.device_class[q] != c) continue;
        for (Rest& layer : b.layers) layer.enter[q][i] = Enter(t, q, i, r, runs, layer.gpu[q]);
      }
    }
    const std::size_t levels = b.level > 0 ? (t.weights[i] + t.state[i]) / b.level : 0;
    for (std::size_t k = 0; k < b.layers.size(); ++k) {
      Leave(t, i, levels <= k ? &b.layers[k - levels] : nullptr, b.layers[k]);
    }
  }
  return b;
}

Progress MakeProgress(const Tables& t) {
  const int d = t.devices, n = t.n;
  Progress f{Grid(d, n), Grid(d + 1, n), Grid(d, n)};
  f.cpu[0][0] = 0;
  std::vector<RunRow> rows = RowsOf(t);
  for (int i = 0; i < n; ++i) {
    std::vector<Time> enter(d, kInfinite);
    Time any = f.cpu[0][i];  // after the devices before q
    for (int q = 0; q < d; ++q) {
      enter[q] = any;
      any = std::min({any, f.cpu[q + 1][i], f.gpu[q][i]});
      if (!t.latency()) continue;
      enter[q] = kInfinite;
      for (int p = -1; p < q; ++p) {
        enter[q] = std::min(enter[q], Join(t, HopInto(t, d, q, i), f.cpu[p + 1][i]));
        if (p >= 0) enter[q] = std::min(enter[q], Join(t, HopInto(t, p, q, i), f.gpu[p][i]));
      }
    }
    std::size_t row = 0;
    for (int c = 0; c < d; ++c) {
      if (t.device_class[c] != c) continue;
      RunRow& r = rows[row++];
      r.MoveTo(i);
      for (int q = c; q < d; ++q) {
        if (t.device_class[q] != c) continue;
        f.enter[q][i] = enter[q];
        if (enter[q] >= kInfinite) continue;
        const int last = t.limited() ? r.EndWithin(t.limit - t.least_hop[q][i]) : r.last();
        for (int e = i + 1; e <= last; ++e) {
          f.gpu[q][e] = std::min(f.gpu[q][e], Join(t, enter[q], t.limited() ? 0 : Count(t, q, i, r.At(e))));
        }
      }
    }
    const Time on_cpu = OnCpu(t, i);
    for (int p = -1; p < d && on_cpu < kInfinite; ++p) {
      Time before = Join(t, HopInto(t, d, d, i), f.cpu[p + 1][i]);
      if (p >= 0) before = std::min(before, Join(t, HopInto(t, p, d, i), f.gpu[p][i]));
      f.cpu[p + 1][i + 1] = Join(t, before, on_cpu);
    }
  }
  return f;
}

HostWorth::HostWorth(const Tables& t) {
  if (t.host_price.empty()) return;
  points_ = {{0, 0}};
  for (std::size_t k = 0; k < t.kinds.size(); ++k) {
    Add(t.kinds[k].weights, t.host_price[k], t.Count(static_cast<int>(k), 0, t.n), t.host_room);
  }
  std::map<std::pair<std::int64_t, Time>, std::int64_t> computed;
  for (int u = 0; u < t.n; ++u) {
    if (t.compute[t.devices][u] < kNever) ++computed[{t.weights[u] + t.state[u], t.cpu_price[u]}];
  }
  for (const auto& [what, count] : computed) Add(what.first, what.second, count, t.host_room);
}

void HostWorth::Add(std::int64_t bytes, Time price, std::int64_t count, std::int64_t room) {
  constexpr std::size_t kMostPoints = 4000;
  if (price <= 0 || bytes <= 0) return;
  rate_ = std::max(rate_, static_cast<double>(price) / static_cast<double>(bytes));
  std::vector<Point> all;
  for (std::int64_t m = 0; m <= std::min(count, room / bytes) && all.size() <= 4 * kMostPoints; ++m) {
    for (const Point& p : points_) {
      if (p.bytes + m * bytes <= room) all.push_back({p.bytes + m * bytes, p.worth + m * price});
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Point& a, const Point& b) { return a.bytes != b.bytes ? a.bytes < b.bytes : a.worth > b.worth; });
  const bool too_many = points_.empty() || all.size() > 4 * kMostPoints;
  points_.clear();
  if (too_many) return;
  for (const Point& p : all) {
    if (points_.empty() || p.worth > points_.back().worth) points_.push_back(p);
  }
}

Time HostWorth::Most(std::int64_t room) const {
  if (points_.empty()) return static_cast<Time>(rate_ * static_cast<double>(room) * (1 + 1e-12)) + (rate_ > 0 ? 1 : 0);
  const auto after = std::upper_bound(points_.begin(), points_.end(), room,
                                      [](std::int64_t bytes, const Point& p) { return bytes < p.bytes; });
  return std::prev(after)->worth;
}

Bounds BestBounds(Tables& t) {
  t.SetPrices({}, {});
  Bounds best = MakeBounds(t, false);
  if (!t.host_binds || !t.latency()) return best;
  Prices chosen;
  Time value = best.Root();
  std::vector<Prices> tries;
  for (const double rate : SomeRates(t)) tries.push_back(AtRate(t, rate));
  tries.push_back(Gains(t));
  for (Prices& p : tries) {
    t.SetPrices(p.host, p.cpu);
    Bounds b = MakeBounds(t, false);
    b.worth = HostWorth(t);
    const Time worth = b.worth.Most(t.host_room);
    if (b.Root() >= kInfinite || b.Root() - worth <= value) continue;
    value = b.Root() - worth;
    chosen = std::move(p);
    best = std::move(b);
  }
  const bool priced = !chosen.cpu.empty();
  t.SetPrices(std::move(chosen.host), std::move(chosen.cpu));
  if (!priced || LevelOf(t) == 0) return best;
  Bounds layered = MakeBounds(t, true);
  layered.worth = std::move(best.worth);
  return layered;
}

}  // namespace stowage::placement

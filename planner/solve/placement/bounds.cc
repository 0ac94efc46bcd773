#include "planner/solve/placement/bounds.h"

#include <algorithm>
#include <array>
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

// Unit i's places of `rest`, once those of all devices that start with it are known. `computed`: the layer after the CPU
// computed it; nullptr: it cannot.
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

// The most that items of a knapsack are worth; the bytes fit in `room`.
class Worth {
 public:
  void Add(std::int64_t bytes, Time price, std::int64_t count) {
    if (price > 0) items_.push_back({bytes, price, count, static_cast<double>(price) / static_cast<double>(bytes)});
  }
  Time Most(std::int64_t room) {
    std::sort(items_.begin(), items_.end(),
              [](const Item& a, const Item& b) { return a.rate != b.rate ? a.rate > b.rate : a.bytes > b.bytes; });
    const Time fractional = Fractional(0, room);
    Choose(0, room, 0);
    return steps_ < 0 ? fractional : best_;
  }

 private:
  struct Item {
    std::int64_t bytes;
    Time price;
    std::int64_t count;
    double rate;
  };
  Time Fractional(std::size_t i, std::int64_t room) const {
    double worth = 0;
    for (; i < items_.size() && room > 0; ++i) {
      const std::int64_t taken = std::min(room, items_[i].bytes * items_[i].count);
      worth += items_[i].rate * static_cast<double>(taken);
      room -= taken;
    }
    return static_cast<Time>(worth * (1 + 1e-12)) + 1;
  }
  void Choose(std::size_t i, std::int64_t room, Time worth) {
    best_ = std::max(best_, worth);
    if (--steps_ < 0 || i == items_.size() || worth + Fractional(i, room) <= best_) return;
    for (std::int64_t m = std::min(items_[i].count, room / items_[i].bytes); m >= 0; --m) {
      Choose(i + 1, room - m * items_[i].bytes, worth + m * items_[i].price);
      if (steps_ < 0) return;
    }
  }

  std::vector<Item> items_;
  Time best_ = 0;
  std::int64_t steps_ = 20'000;
};

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

Time Refund(const Tables& t, std::int64_t room) {
  if (t.host_price.empty()) return 0;
  Worth worth;
  for (std::size_t k = 0; k < t.kinds.size(); ++k) {
    worth.Add(t.kinds[k].weights, t.host_price[k], t.Count(static_cast<int>(k), 0, t.n));
  }
  std::map<std::pair<std::int64_t, Time>, std::int64_t> computed;
  for (int u = 0; u < t.n; ++u) {
    if (t.compute[t.devices][u] < kNever) ++computed[{t.weights[u] + t.state[u], t.cpu_price[u]}];
  }
  for (const auto& [what, count] : computed) worth.Add(what.first, what.second, count);
  return worth.Most(room);
}

Bounds BestBounds(Tables& t) {
  t.SetPrices({}, {});
  Bounds best = MakeBounds(t, false);
  if (!t.host_binds || !t.latency()) return best;
  Prices chosen;
  Time value = best.Root();
  for (const double rate : SomeRates(t)) {
    Prices p = AtRate(t, rate);
    t.SetPrices(p.host, p.cpu);
    Bounds b = MakeBounds(t, false);
    const Time refund = Refund(t, t.host_room);
    if (b.Root() >= kInfinite || b.Root() - refund <= value) continue;
    value = b.Root() - refund;
    chosen = std::move(p);
    best = std::move(b);
  }
  t.SetPrices(std::move(chosen.host), std::move(chosen.cpu));
  return LevelOf(t) > 0 ? MakeBounds(t, true) : best;
}

}  // namespace stowage::placement

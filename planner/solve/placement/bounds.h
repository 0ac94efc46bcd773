// Lower bounds of what remains, and of what came before, for every state of the search. Private to this folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "planner/solve/placement/row.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Times add up for kLatency, and those of the CPU under a limit; else the largest counts.
inline Time Join(const Tables& t, Time a, Time b) {
  if (!t.sums()) return a > b ? a : b;
  return a + b < kInfinite ? a + b : kInfinite;
}

// What the run [i, end) on a device counts for at least. `row` is of its class, and at i. Within the limit, if there is
// one.
inline Time Count(const Tables& t, const RunRow& row, int device, int i, int end) {
  if (t.limited()) return t.by_host ? row.HostAt(end, t.least_hop[device][i]) : 0;
  const Time run = row.At(end);
  return t.latency() || t.memory() || run >= kInfinite ? run : run + t.least_hop[device][i];
}

// The last end worth looking at of such a run.
inline int LastEnd(const Tables& t, const RunRow& row, int device, int i) {
  return t.limited() ? row.EndWithin(t.limit - t.least_hop[device][i]) : row.last();
}

// A hop that leads from one run into another; those into a device's run are in Count but for kLatency.
inline Time HopInto(const Tables& t, int from, int to, int i) {
  return t.latency() || (t.limited() && !t.by_host && to == t.devices) ? t.hop[from][to][i] : 0;
}

// A value for each state of the search: of what remains after it, or of what came before. `layers` of them each.
template <typename Value>
class StatesOf {
 public:
  StatesOf() = default;
  StatesOf(int devices, int n, int layers, Value fill)
      : devices_(devices),
        n_(n),
        layers_(layers),
        values_(static_cast<std::size_t>(3 * devices + 1) * (n + 1) * layers, fill) {}

  int layers() const { return layers_; }
  // Units before i are done, the last run was on device p.
  Value* Gpu(int p, int i) { return &values_[At(p, i)]; }
  const Value* Gpu(int p, int i) const { return &values_[At(p, i)]; }
  // The same, but the CPU computed last, after device p. -1: after none.
  Value* Cpu(int p, int i) { return &values_[At(devices_ + 1 + p, i)]; }
  const Value* Cpu(int p, int i) const { return &values_[At(devices_ + 1 + p, i)]; }
  // Device q is about to start with unit i.
  Value* Enter(int q, int i) { return &values_[At(2 * devices_ + 1 + q, i)]; }
  const Value* Enter(int q, int i) const { return &values_[At(2 * devices_ + 1 + q, i)]; }

 private:
  std::size_t At(int row, int i) const {
    return (static_cast<std::size_t>(row) * (n_ + 1) + i) * static_cast<std::size_t>(layers_);
  }

  int devices_ = 0, n_ = 0, layers_ = 1;
  std::vector<Value> values_;
};

using States = StatesOf<Time>;  // one layer

// The hops from device p into those after it, before unit i, are those from the CPU; the same of those into device q.
bool HopsAlikeFrom(const Tables& t, int p, int i);
bool HopsAlikeInto(const Tables& t, int q, int i);

// A row of run bounds for each class of devices; devices that are the first of theirs, in order.
std::vector<RunRow> RowsOf(const Tables& t);

// Tables::open for a run from unit i on of any device of the row's class.
bool AnyOpen(const Tables& t, const RunRow& row, int i);

// Tables::open for placements whose way, what came before a run and what remains from there, is below `below`.
std::vector<char> OpenStates(const Tables& t, const States& before, const States& rest, Time below);

// What unit i counts for on the CPU, with its price.
inline Time OnCpu(const Tables& t, int i) {
  const Time time = t.compute[t.devices][i];
  if (time >= kNever || time > t.limit) return kInfinite;
  return t.by_host ? t.weights[i] + t.state[i] : time + t.CpuPrice(i);
}

// The most that units in so many bytes of host memory can be worth under the prices of some tables: by what a bound
// with prices exceeds one without. Exact for few kinds of units, else rounded up.
class HostWorth {
 public:
  HostWorth() = default;
  explicit HostWorth(const Tables& t);
  Time Most(std::int64_t room) const;  // room >= 0

 private:
  struct Point {
    std::int64_t bytes;
    Time worth;
  };
  void Add(std::int64_t bytes, Time price, std::int64_t count, std::int64_t room);

  std::vector<Point> points_;  // the least bytes of each worth, both growing
  double rate_ = 0;            // > 0: too many points; a byte is worth this at most
};

// [end] of runs on device q: RunRow::Tail and what remains after it; kInfinite if that cannot be.
std::vector<Time> TailsOf(const Tables& t, int q, const States& rest);

// What remains at least from each state.
States MakeRest(const Tables& t);

// What came before each state, at least.
States MakeProgress(const Tables& t);

}  // namespace stowage::placement

// Lower bounds of what remains, and of what came before, for every state of the search. Private to this folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Times add up for kLatency, and those of the CPU under a limit; else the largest counts.
inline Time Join(const Tables& t, Time a, Time b) {
  if (!t.sums()) return a > b ? a : b;
  return a + b < kInfinite ? a + b : kInfinite;
}

// What a run that takes at least `run` counts for, entered before unit i.
inline Time Count(const Tables& t, int device, int i, Time run) {
  if (t.latency() || t.memory() || run >= kInfinite) return run;
  const Time all = run + t.least_hop[device][i];
  return t.limited() ? (all <= t.limit ? 0 : kInfinite) : all;
}

// A hop that leads from one run into another; those into a device's run are in Count but for kLatency.
inline Time HopInto(const Tables& t, int from, int to, int i) {
  return t.latency() || (t.limited() && to == t.devices) ? t.hop[from][to][i] : 0;
}

// What remains at least. Values with their host prices.
struct Rest {
  std::vector<std::vector<Time>> gpu;    // [p][i]: units before i are done, the last run was on device p
  std::vector<std::vector<Time>> cpu;    // [p + 1][i]: the same, but the CPU computed last, after device p
  std::vector<std::vector<Time>> enter;  // [q][i]: device q is about to start with unit i
};

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

struct Bounds {
  // kLatency when the CPU computes and host memory binds: layer k is the rest when the CPU may still compute units of
  // k levels of bytes in all; a level is the commonest unit's bytes, other units count for as many as they surely
  // fill. Without that constraint a CPU as cheap as streaming, at the prices of the day, computes all that does not
  // fit, and no device pays for its staging. Else one layer.
  std::vector<Rest> layers;
  std::int64_t level = 0;  // bytes; 0: one layer
  HostWorth worth;

  const Rest& With(std::int64_t host_room) const {
    return level == 0 ? layers[0] : layers[std::min<std::int64_t>(host_room / level, layers.size() - 1)];
  }
  const Rest& All() const { return layers.back(); }
  Time Root() const { return All().cpu[0][0]; }
};

// `layered`: with as many layers as the problem has use for.
Bounds MakeBounds(const Tables& t, bool layered);

// The bounds under the host prices that make the root's bound best, which are then those of `t`: of some rates per byte
// at which a unit is indifferent between host and disk, or CPU and disk, and of what a unit gains there as it is.
Bounds BestBounds(Tables& t);

// What came before, at least.
struct Progress {
  std::vector<std::vector<Time>> gpu;    // [p][i]: up to unit i, the last run was on device p
  std::vector<std::vector<Time>> cpu;    // [p + 1][i]: the same, but the CPU computed last, after device p
  std::vector<std::vector<Time>> enter;  // [q][i]: and the next run, on device q, is to start with unit i
};

Progress MakeProgress(const Tables& t);

}  // namespace stowage::placement

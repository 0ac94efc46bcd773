// Lagrange prices of host memory, and the bounds under them. Private to this folder.
#pragma once

#include <vector>

#include "planner/solve/placement/bounds.h"
#include "planner/solve/placement/layers.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Of a unit's weights in host memory, and of its being computed there: one each a unit. No prices: empty.
struct Prices {
  std::vector<Time> host, cpu;
};

// What remains at least from a state, with the host prices of the tables; by layers if there are any. With layers what
// is streamed from the host shares what the CPU's units leave of it.
struct Bounds {
  States rest;
  HostWorth worth;
  Levels levels;
  LayeredStates layers;

  // [layer]: by how much its value exceeds the rest without prices, at most, with so much of the host free.
  void Worths(std::int64_t host_room, std::vector<Time>& worths) const;

  // Without prices.
  Time Gpu(int p, int i, const std::vector<Time>& worths) const;
  Time Cpu(int p, int i, const std::vector<Time>& worths) const;
  Time Enter(int q, int i, const std::vector<Time>& worths) const;
  Time Root(std::int64_t host_room) const;

  Time Least(Time plain, const double* layered, const std::vector<Time>& worths) const;
};

// Without layers, under these prices, which are then those of `t`.
Bounds BoundsAt(Tables& t, const Prices& prices);

// Can prices be of use?
inline bool HasPrices(const Tables& t) { return t.latency() && t.host_binds; }

// What a unit gains by being in host memory instead of on the disk, on the device where that is least; and no more for
// each time it fills the bytes of the commonest one, as what does not fill them takes no room from another.
Prices LevelGains(const Tables& t);

// The prices that make the root's bound best: LevelGains, the same without that limit, and some rates per byte at which
// a unit is indifferent between host and disk, or CPU and disk.
Prices BestPrices(Tables& t);

// With layers, if they are of use, for ways whose bound is below `below`. `plain`: BoundsAt(t, prices); the prices of
// `t` change to those of the layers. `progress`: what came before at least, under these prices; nullptr: not known.
Bounds WithLayers(Tables& t, const Prices& prices, Bounds plain, Time below, const States* progress);

}  // namespace stowage::placement

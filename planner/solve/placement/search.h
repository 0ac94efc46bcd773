// The best-first search of placement.h for one order of the devices, one home per tie and given bounds. Private to this
// folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/prices.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Out of steps, so many more complete what is furthest.
inline constexpr std::int64_t kLastSteps = 20'000;

struct SearchResult {
  bool found = false;                // a placement better than the upper bound given
  Time value = kInfinite;            // under a limit too
  Time lower_bound = kInfinite;      // no placement of these tables is better; kInfinite: none exists below upper_bound
  std::vector<UnitPlacement> units;  // of pinned units only the device is set
};

// What the pinned units take by themselves: the value of a search's start. *cpu: of the CPU, where that counts apart.
// kInfinite when they break the limit.
Time StartValue(const Tables& t, Time* cpu);

// Looks for a placement below `upper_bound`; under a limit, for one whose devices keep it and whose CPU takes less than
// that (by host: that needs less of it). Spends at most about *nodes_left steps, which it subtracts, and `last_steps`
// more to complete what is furthest then.
SearchResult RunSearch(const Tables& t, const Bounds& bounds, Time upper_bound, std::int64_t* nodes_left,
                       std::int64_t last_steps);

// From the start to the end by the best step each time, with no way back: perhaps a placement.
SearchResult Dive(const Tables& t, const Bounds& bounds, Time upper_bound, std::int64_t* nodes_left);

}  // namespace stowage::placement

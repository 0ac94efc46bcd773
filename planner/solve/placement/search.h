// The best-first search of placement.h for one order of the devices and one home per tie. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/bounds.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

struct SearchResult {
  bool found = false;                // a placement better than the upper bound given
  Time value = kInfinite;            // under a limit too
  Time lower_bound = kInfinite;      // no placement of these tables is better; kInfinite: none exists below upper_bound
  std::vector<UnitPlacement> units;  // of pinned units only the device is set
};

// Bound alone: no placement of `t` is better than this; kInfinite if there is none. Sets the host prices of `t`.
Time RootBound(Tables& t);

// Looks for a placement below `upper_bound`; under a limit, for one whose devices keep it and whose CPU takes less than
// that. Sets the host prices of `t`. Spends at most about *nodes_left steps, which it subtracts.
SearchResult Search(Tables& t, Time upper_bound, std::int64_t* nodes_left);

}  // namespace stowage::placement

// The best-first search of placement.h for one order of the devices and one home per tie. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/bounds.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

struct SearchResult {
  bool found = false;  // a placement better than the upper bound given
  Time value = kInfinite;
  Time lower_bound = kInfinite;      // no placement of these tables is better; kInfinite: none exists below upper_bound
  std::vector<UnitPlacement> units;  // of pinned units only the device is set
};

// Bound alone: no placement of `t` is better than this; kInfinite if there is none. Sets the host penalty of `t`.
Time RootBound(Tables& t, RunCache* cache = nullptr);

// Looks for a placement below `upper_bound`. Sets the host penalty of `t`. Spends at most about *nodes_left steps, which
// it subtracts.
SearchResult Search(Tables& t, Time upper_bound, std::int64_t* nodes_left, RunCache* cache = nullptr);

}  // namespace stowage::placement

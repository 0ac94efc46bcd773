// One order of the devices and one home per tie: which bounds the search gets, and when. Private to this folder.
#pragma once

#include <cstdint>

#include "planner/solve/placement/prices.h"
#include "planner/solve/placement/search.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Bound alone: no placement of `t` is better than this (by host: needs less of it); kInfinite if there is none. Sets the
// host prices of `t`.
Time RootBound(Tables& t);

// RunSearch under the bounds that the problem has use for, the cheap ones first: no prices, LevelGains and a placement to
// start from, then layers, or without a CPU the best prices. Sets the host prices of `t`.
SearchResult Search(Tables& t, Time upper_bound, std::int64_t* nodes_left);

// Of tables with less pinned: the prices that are best, and under these what came before each state.
struct Known {
  const Prices& prices;
  const States* progress;  // nullptr: not known
};

// The same with what is known.
SearchResult SearchAt(Tables& t, const Known& known, Time upper_bound, std::int64_t* nodes_left);

// A few steps of it: the proof when that is easy, else perhaps a placement.
SearchResult Glance(Tables& t, const Prices& prices, Time upper_bound, std::int64_t* nodes_left);

}  // namespace stowage::placement

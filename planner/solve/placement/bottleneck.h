// kThroughput when the CPU computes too, and kThroughput and kMemory when host memory binds. The CPU's runs count
// together, and so do the host's bytes, which leaves a search for the least largest value without a bound of any use.
// Asked instead, for one value after the other: can everything keep within it? The devices' runs may take that long
// (need that much) each, and the CPU's total, or the host's bytes, are what is minimised. Private to this folder.
#pragma once

#include <cstdint>

#include "planner/base/result.h"
#include "planner/solve/placement/search.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Is a problem for SolveBottleneck?
bool IsBottleneck(const PlacementProblem& problem);

// Looks for a placement below `upper_bound`; the units of ties are placed too. Spends at most about *nodes_left steps,
// which it subtracts. kInvalidInput for too many ties.
Result<SearchResult> SolveBottleneck(const PlacementProblem& problem, Time upper_bound, std::int64_t* nodes_left);

}  // namespace stowage::placement

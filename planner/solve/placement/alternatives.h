// Why a unit is where it is: what every other place would cost, or why it cannot be there.
//
//   for (const Alternative& a : AlternativesOf(problem, best, unit)) fmt::print("{}\n", Sentence(problem, a));
//   "resident on gpu1: 1.2 s slower, other units move with it"
//   "streamed from host memory by gpu0: gpu0 would hold 15.4 GB, its budget is 15.0 GB"
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/solve/placement/placement.h"

namespace stowage {

struct Alternative {
  UnitPlacement to;
  // Objective there less the placement's: seconds, or bytes for kMemory; >= 0 where the placement is proven. Absent: it
  // cannot be there.
  std::optional<double> cost;
  bool others_move = false;  // the cost is that of the best placement with the unit there, not of moving it alone
  std::string why_not;       // without a cost
};

// Every place but its own, for `unit` and what is tied to it. Moving it alone is tried first; where that breaks a rule,
// the whole is solved again with the unit resident there. If that is infeasible too, the reason says what is short.
std::vector<Alternative> AlternativesOf(const PlacementProblem& problem, const ChainPlacement& placement,
                                        std::int32_t unit);

std::string Sentence(const PlacementProblem& problem, const Alternative& alternative);

}  // namespace stowage

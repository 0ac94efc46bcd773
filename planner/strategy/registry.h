// The table of all strategies. The only place that knows their names.
#pragma once

#include <string_view>
#include <vector>

#include "planner/machine/machine.h"
#include "planner/strategy/strategy.h"

namespace stowage {

std::vector<Strategy> AllStrategies();
// Those that have a use for as many GPUs as the machine has.
std::vector<Strategy> StrategiesFor(const Machine& machine);

struct StrategyChoice {
  const Strategy* strategy = nullptr;  // points into the vector it was found in
  std::string parameters;
};

// Splits NAME[:PARAMETERS] and finds NAME; an unknown name is an error that lists the known ones.
Result<StrategyChoice> FindStrategy(const std::vector<Strategy>& all, std::string_view text);

// The strategy with the parameters given, if any, for its only candidate.
Strategy WithParameters(const StrategyChoice& choice);

}  // namespace stowage

// The smallest budgets of several GPUs, in the ratio that they have.
#pragma once

#include <functional>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/strategy.h"

namespace stowage {

// Budgets are tried in steps of 1/1000 of what each is now.
inline constexpr std::int64_t kShareSteps = 1000;

// By GPU: all budgets scaled alike so that `fits`, and one step less does not; other pools as they are. Budgets that do
// not fit now are grown up to 64 times; then kInfeasible, with the last reason.
Result<std::vector<Bytes>> SmallestShare(const PlanningTask& task,
                                         const std::function<Status(const PlanningTask&)>& fits);

}  // namespace stowage

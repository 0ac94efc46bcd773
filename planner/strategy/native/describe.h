// The plan that a native proposal amounts to: its arenas, tensors and placements by name.
#pragma once

#include "planner/plan/plan.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

Plan DescribePlan(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal,
                  const NativeLayout& layout, const Schedule& schedule);

}  // namespace stowage

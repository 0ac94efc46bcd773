// Host memory and the offload folder of a torch schedule against their budgets. Internal to planner/strategy/torch.
#pragma once

#include "planner/base/result.h"
#include "planner/schedule/schedule.h"

namespace stowage {

// kInfeasible when what is allocated in such a pool passes its budget at some step, in program order: names the highest
// such moment, what is alive then by kind and by size, and the budget that would do. Unlike the GPUs', they have no
// allocator whose state decides: no simulation is needed to know.
Status CheckHostBudget(const Schedule& schedule);

}  // namespace stowage

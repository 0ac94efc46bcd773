// The plan of a torch strategy: which tensors live on the device and which come from host memory. Internal to
// planner/strategy/torch.
#pragma once

#include <string_view>

#include "planner/plan/plan.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {

// Without arenas and offsets: torch's allocators decide them.
Plan DescribeTorchPlan(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy);

}  // namespace stowage

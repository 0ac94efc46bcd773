#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>

#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "device-map";

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, parameters));
  return LowerTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, parameters));
}

// With less not even the passes fit, whatever the map.
Result<Bytes> SmallestGpu(const PlanningTask& task) {
  if (task.machine->gpus.size() > 1) {
    return Error{ErrorCode::kInfeasible, "the smallest budget is not worked out for several GPUs"};
  }
  return SmallestTorchBudget(task, TorchPlacement::SequentialOffload(*task.model));
}

}  // namespace

Strategy DeviceMapStrategy() {
  return {.name = std::string(kName),
          .runtime = "torch",
          .summary = "accelerate's device maps: auto, balanced, balanced_low_0, sequential, optimal",
          .lower = Lower,
          .candidates =
              [](const PlanningTask&) {
                return std::vector<std::string>{"auto", "optimal", "optimal:97", "optimal:94"};
              },
          .smallest_gpu_budget = SmallestGpu,
          .sampled_passes = 2,
          .gpus = GpuUse::kAny};
}

}  // namespace stowage

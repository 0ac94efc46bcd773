#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>

#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "device-map";

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(std::vector<WeightHome> homes, HomesOf(task, parameters));
  return LowerTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, parameters));
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
          // With less not even the passes fit, whatever the map.
          .smallest_gpu_budget =
              [](const PlanningTask& task) {
                return SmallestTorchBudget(task, TorchPlacement::SequentialOffload(*task.model));
              },
          .sampled_passes = 2};
}

}  // namespace stowage

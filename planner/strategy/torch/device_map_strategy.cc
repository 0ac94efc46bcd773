#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_form.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "device-map";

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, parameters));
  return LowerTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, parameters));
}

std::vector<std::string> Candidates(const PlanningTask&) { return {"auto", "optimal", "optimal:97", "optimal:94"}; }

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = Candidates(task);
  bool optimal_fits = false;  // others of its kind keep less on the GPUs
  return BestForm(task.request, std::move(all), [&](const std::string& p) -> Result<ClosedForm> {
    if (optimal_fits) return ClosedForm{.why_not = "device-map:optimal keeps more on the GPUs"};
    STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, p));
    STOWAGE_TRY(ClosedForm form,
                FormOfTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, p)));
    optimal_fits = form.fits() && p == "optimal";
    return form;
  });
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
          .candidates = Candidates,
          .smallest_gpu_budget = SmallestGpu,
          .sampled_passes = 2,
          .closed_form = Close,
          .gpus = GpuUse::kAny};
}

}  // namespace stowage

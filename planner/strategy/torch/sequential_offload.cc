#include "planner/strategy/torch/sequential_offload.h"

#include <fmt/format.h>

#include <string>

#include "planner/strategy/closed_form.h"
#include "planner/strategy/torch/torch_form.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "sequential-offload";

Status CheckNone(std::string_view parameters) {
  if (parameters.empty()) return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("{} takes no parameters, not '{}'", kName, parameters)};
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_RETURN_IF_ERROR(CheckNone(parameters));
  return LowerTorch(task, TorchPlacement::SequentialOffload(*task.model), kName);
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  return BestForm(task.request, {std::string(parameters)}, [&](const std::string& p) -> Result<ClosedForm> {
    STOWAGE_RETURN_IF_ERROR(CheckNone(p));
    return FormOfTorch(task, TorchPlacement::SequentialOffload(*task.model), kName);
  });
}

ClosedForm FromSizes(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  return CloseForm(task, sizes,
                   {.gpu = sizes.largest_tensor + TorchFixedBytes(task, sizes),
                    .host = sizes.weights,
                    .streamed = sizes.weights,
                    .pageable = true,
                    .refusal = TorchRefusal(*task.model)});
}

}  // namespace

Strategy SequentialOffloadStrategy() {
  return {.name = std::string(kName),
          .runtime = "torch",
          .summary = "accelerate's cpu_offload: each module's weights come when it runs",
          .lower = Lower,
          .candidates = [](const PlanningTask&) { return std::vector<std::string>{""}; },
          .smallest_gpu_budget =
              [](const PlanningTask& task) {
                return SmallestTorchBudget(task, TorchPlacement::SequentialOffload(*task.model));
              },
          .sampled_passes = 2,
          .closed_form = Close,
          .from_sizes = FromSizes};
}

}  // namespace stowage

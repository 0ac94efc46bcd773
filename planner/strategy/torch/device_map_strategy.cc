#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>

#include "planner/strategy/closed_form.h"
#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "device-map";

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(std::vector<WeightHome> homes, HomesOf(task, parameters));
  return LowerTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, parameters));
}

ClosedForm Close(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  const Result<std::vector<WeightHome>> homes = HomesOf(task, "auto");
  if (!homes) return {.peak = {}, .why_not = homes.error().message, .first_token = {}, .per_token = {}, .limit = ""};
  Bytes device, host, streamed;
  for (std::size_t i = 0; i < homes->size(); ++i) {
    const Tensor& t = task.model->tensors[i];
    if (t.buffer) continue;
    if ((*homes)[i] != WeightHome::kDevice) streamed += t.bytes();  // by every user of a tied weight
    if (t.tied_to != kNoId) continue;
    if ((*homes)[i] == WeightHome::kDevice) device += t.bytes();
    if ((*homes)[i] == WeightHome::kHost) host += t.bytes();
  }
  const Bytes upload = streamed > Bytes(0) ? sizes.largest_tensor : Bytes(0);
  return CloseForm(task, sizes,
                   {.gpu = device + upload + TorchFixedBytes(task, sizes),
                    .host = host + sizes.largest_tensor,
                    .streamed = streamed,
                    .pageable = true});
}

}  // namespace

Strategy DeviceMapStrategy() {
  return {.name = std::string(kName),
          .runtime = "torch",
          .summary = "accelerate's device maps: auto, balanced, balanced_low_0, sequential, optimal",
          .lower = Lower,
          .candidates =
              [](const PlanningTask&) {
                return std::vector<std::string>{"auto", "optimal"};
              },
          // With less not even the passes fit, whatever the map.
          .smallest_gpu_budget =
              [](const PlanningTask& task) {
                return SmallestTorchBudget(task, TorchPlacement::SequentialOffload(*task.model));
              },
          .sampled_passes = 2,
          .closed_form = Close};
}

}  // namespace stowage

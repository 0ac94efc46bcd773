#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/families/families.h"
#include "planner/solve/accelerate/infer.h"
#include "planner/solve/placement/from_model.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

using accelerate::DeviceKind;
using accelerate::DeviceMap;
using accelerate::Number;

constexpr std::string_view kName = "device-map";

Error Bad(std::string message) { return {ErrorCode::kInvalidInput, std::move(message)}; }

Result<DeviceMap> InferredMap(const PlanningTask& task, std::string_view mode) {
  const Model& model = *task.model;
  const accelerate::PlacementTree tree = accelerate::TreeOf(model);
  accelerate::MaxMemory budgets;
  std::int64_t index = 0;
  for (const Pool& pool : task.machine->pools) {
    const Number bytes = Number::Int(pool.budget.value());
    if (pool.kind == PoolKind::kGpu)
      budgets.emplace_back(accelerate::DeviceKey{DeviceKind::kAccelerator, index++}, bytes);
    if (pool.kind == PoolKind::kHost) budgets.emplace_back(accelerate::DeviceKey{DeviceKind::kCpu, 0}, bytes);
  }
  if (mode != "sequential") {
    accelerate::BalanceOptions options;
    options.no_split = model.no_split_classes;
    options.low_zero = mode == "balanced_low_0";
    STOWAGE_TRY(budgets, BalancedMaxMemory(tree, budgets, options));
  }
  STOWAGE_TRY(accelerate::Inferred inferred,
              InferDeviceMap(tree, {.max_memory = budgets, .no_split = model.no_split_classes}));
  return std::move(inferred.map);
}

Result<DeviceMap> OptimalMap(const PlanningTask& task) {
  const Model& model = *task.model;
  const auto layer_cache = [&model](std::int64_t layer, std::int64_t positions) {
    if (layer >= model.shape.layers) return Bytes(0);
    return LayerCacheBytesPerPosition(model) * CachedPositions(model, layer, positions);
  };
  STOWAGE_TRY(const ModelChain chain, ChainOf(model, task.request, *task.machine, {.layer_cache = layer_cache}));
  STOWAGE_TRY(const ChainPlacement placement, SolvePlacement(chain.problem));
  return DeviceMapOf(chain, placement);
}

Result<DeviceMap> MapOf(const PlanningTask& task, std::string_view parameters) {
  if (parameters == "auto" || parameters == "balanced" || parameters == "balanced_low_0" ||
      parameters == "sequential") {
    return InferredMap(task, parameters);
  }
  if (parameters == "optimal") return OptimalMap(task);
  if (parameters.starts_with('{')) {
    STOWAGE_TRY(DeviceMap map, accelerate::ReadDeviceMap(parameters));
    const accelerate::PlacementTree tree = accelerate::TreeOf(*task.model);
    std::vector<std::string> unknown;
    STOWAGE_RETURN_IF_ERROR(CheckDeviceMap(tree, map, &unknown));
    STOWAGE_TRY(const std::vector<std::string> apart, TiesApart(tree, map));
    if (!apart.empty()) return Bad(apart[0] + ", which is not simulated");
    return map;
  }
  return Bad(fmt::format("{}: '{}' is none of auto, balanced, balanced_low_0, sequential, optimal and a map in JSON",
                         kName, parameters));
}

Result<TorchHome> HomeOf(const DeviceMap& map, const Tensor& tensor) {
  const std::optional<accelerate::DeviceKey> device = DeviceOf(map, tensor.name);
  if (!device) return Bad(fmt::format("the device map gives no device for {} (ValueError)", tensor.name));
  switch (device->kind) {
    case DeviceKind::kAccelerator:
      if (device->index == 0) return TorchHome::kDevice;
      break;
    case DeviceKind::kCpu:
      return TorchHome::kHost;
    case DeviceKind::kDisk:
      return TorchHome::kDisk;
    case DeviceKind::kMps:
      break;
  }
  return Bad(fmt::format("the device map puts {} on device {}; maps on several GPUs are not simulated yet", tensor.name,
                         Name(*device)));
}

Result<std::vector<TorchHome>> HomesOf(const PlanningTask& task, std::string_view parameters) {
  Result<DeviceMap> map = MapOf(task, parameters);
  if (!map) return std::move(map).error();
  std::vector<TorchHome> homes;
  bool device = false;
  for (const Tensor& t : task.model->tensors) {
    if (t.buffer) {
      homes.push_back(TorchHome::kDevice);
      continue;
    }
    STOWAGE_TRY(const TorchHome home, HomeOf(*map, t));
    homes.push_back(home);
    device = device || home == TorchHome::kDevice;
  }
  if (!device) {
    return Error{ErrorCode::kInfeasible,
                 "the device map puts no weight on the GPU: accelerate computes all of it on the CPU, which is not "
                 "simulated"};
  }
  return homes;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(std::vector<TorchHome> homes, HomesOf(task, parameters));
  return LowerTorch(task, TorchPlacement::Dispatched(std::move(homes)), fmt::format("{}:{}", kName, parameters));
}

ClosedForm Close(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  const Result<std::vector<TorchHome>> homes = HomesOf(task, "auto");
  if (!homes) return {.peak = {}, .why_not = homes.error().message, .first_token = {}, .per_token = {}, .limit = ""};
  Bytes device, host, streamed;
  for (std::size_t i = 0; i < homes->size(); ++i) {
    const Tensor& t = task.model->tensors[i];
    if (t.buffer) continue;
    if ((*homes)[i] != TorchHome::kDevice) streamed += t.bytes();  // by every user of a tied weight
    if (t.tied_to != kNoId) continue;
    if ((*homes)[i] == TorchHome::kDevice) device += t.bytes();
    if ((*homes)[i] == TorchHome::kHost) host += t.bytes();
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

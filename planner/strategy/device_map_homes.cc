#include "planner/strategy/device_map_homes.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "planner/families/families.h"
#include "planner/solve/accelerate/infer.h"
#include "planner/solve/placement/from_model.h"

namespace stowage {
namespace {

using accelerate::DeviceKind;
using accelerate::DeviceMap;
using accelerate::Number;

Error Bad(std::string message) { return {ErrorCode::kInvalidInput, std::move(message)}; }

constexpr std::array<std::int64_t, 3> kPercents = {97, 94, 90};

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

Result<DeviceMap> OptimalMap(const PlanningTask& task, std::int64_t percent) {
  Machine machine = *task.machine;
  Bytes& budget = machine.pools[machine.FindPool("gpu0")].budget;
  budget = budget / 100 * percent;
  const Model& model = *task.model;
  const auto layer_cache = [&model](std::int64_t layer, std::int64_t positions) {
    if (layer >= model.shape.layers) return Bytes(0);
    return LayerCacheBytesPerPosition(model) * CachedPositions(model, layer, positions);
  };
  STOWAGE_TRY(const ModelChain chain, ChainOf(model, task.request, machine, {.layer_cache = layer_cache}));
  STOWAGE_TRY(const ChainPlacement placement, SolvePlacement(chain.problem));
  return DeviceMapOf(chain, placement);
}

Result<DeviceMap> MapOf(const PlanningTask& task, std::string_view words) {
  if (words == "auto" || words == "balanced" || words == "balanced_low_0" || words == "sequential") {
    return InferredMap(task, words);
  }
  if (words == "optimal") return OptimalMap(task, 100);
  for (const std::int64_t percent : kPercents) {
    if (words == fmt::format("optimal:{}", percent)) return OptimalMap(task, percent);
  }
  if (words.starts_with('{')) {
    STOWAGE_TRY(DeviceMap map, accelerate::ReadDeviceMap(words));
    const accelerate::PlacementTree tree = accelerate::TreeOf(*task.model);
    std::vector<std::string> unknown;
    STOWAGE_RETURN_IF_ERROR(CheckDeviceMap(tree, map, &unknown));
    STOWAGE_TRY(const std::vector<std::string> apart, TiesApart(tree, map));
    if (!apart.empty()) return Bad(apart[0] + ", which is not simulated");
    return map;
  }
  return Bad(fmt::format(
      "device map '{}': it is none of auto, balanced, balanced_low_0, sequential, optimal and a map in JSON", words));
}

Result<WeightHome> HomeOf(const DeviceMap& map, const Tensor& tensor) {
  const std::optional<accelerate::DeviceKey> device = DeviceOf(map, tensor.name);
  if (!device) return Bad(fmt::format("the device map gives no device for {} (ValueError)", tensor.name));
  switch (device->kind) {
    case DeviceKind::kAccelerator:
      if (device->index == 0) return WeightHome::kDevice;
      break;
    case DeviceKind::kCpu:
      return WeightHome::kHost;
    case DeviceKind::kDisk:
      return WeightHome::kDisk;
    case DeviceKind::kMps:
      break;
  }
  return Bad(fmt::format("the device map puts {} on device {}; maps on several GPUs are not simulated yet", tensor.name,
                         Name(*device)));
}

}  // namespace

Result<std::vector<WeightHome>> HomesOf(const PlanningTask& task, std::string_view words) {
  STOWAGE_TRY(const DeviceMap map, MapOf(task, words));
  std::vector<WeightHome> homes;
  bool device = false;
  for (const Tensor& t : task.model->tensors) {
    if (t.buffer) {
      homes.push_back(WeightHome::kDevice);
      continue;
    }
    STOWAGE_TRY(const WeightHome home, HomeOf(map, t));
    homes.push_back(home);
    device = device || home == WeightHome::kDevice;
  }
  if (!device) {
    return Error{ErrorCode::kInfeasible,
                 "the device map puts no weight on the GPU: accelerate computes all of it on the CPU, which is not "
                 "simulated"};
  }
  return homes;
}

}  // namespace stowage

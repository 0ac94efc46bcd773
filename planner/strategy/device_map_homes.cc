#include "planner/strategy/device_map_homes.h"

#include <fmt/format.h>

#include <algorithm>
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

Result<DeviceMap> OptimalMap(const PlanningTask& task, std::int64_t percent,
                             PlacementObjective objective = PlacementObjective::kLatency) {
  const Model& model = *task.model;
  Bytes largest;
  for (const Tensor& t : model.tensors) largest = std::max(largest, t.bytes());
  Machine machine = *task.machine;
  for (Pool& pool : machine.pools) {
    if (pool.kind == PoolKind::kGpu) pool.budget = pool.budget / 100 * percent;
    // With less than all of the GPU, the host too keeps room: for a tensor on its way from the file to the GPU.
    if (pool.kind == PoolKind::kHost && percent < 100) pool.budget = std::max(Bytes(0), pool.budget - largest);
  }
  const auto layer_cache = [&model](std::int64_t layer, std::int64_t positions) {
    if (layer >= model.shape.layers) return Bytes(0);
    return LayerCacheBytesPerPosition(model) * CachedPositions(model, layer, positions);
  };
  STOWAGE_TRY(const ModelChain chain,
              ChainOf(model, task.request, machine, {.layer_cache = layer_cache, .objective = objective}));
  STOWAGE_TRY(const ChainPlacement placement, SolvePlacement(chain.problem));
  return DeviceMapOf(chain, placement);
}

Result<DeviceMap> MapOf(const PlanningTask& task, std::string_view words) {
  if (words == "auto" || words == "balanced" || words == "balanced_low_0" || words == "sequential") {
    return InferredMap(task, words);
  }
  if (words == "optimal") return OptimalMap(task, 100);
  if (words == "throughput") return OptimalMap(task, 100, PlacementObjective::kThroughput);
  for (const std::int64_t percent : kPercents) {
    if (words == fmt::format("optimal:{}", percent)) return OptimalMap(task, percent);
  }
  if (words.starts_with('{')) {
    STOWAGE_TRY(DeviceMap map, accelerate::ReadDeviceMap(words));
    const accelerate::PlacementTree tree = accelerate::TreeOf(*task.model);
    TakeOtherNames(tree, map);
    std::vector<std::string> unknown;
    STOWAGE_RETURN_IF_ERROR(CheckDeviceMap(tree, map, &unknown));
    STOWAGE_TRY(const std::vector<std::string> apart, TiesApart(tree, map));
    if (!apart.empty()) return Bad(apart[0] + ", which is not simulated");
    return map;
  }
  return Bad(fmt::format(
      "device map '{}': it is none of auto, balanced, balanced_low_0, sequential, optimal and a map in JSON", words));
}

// Where a name goes: the GPU that computes with it, and whether its bytes are elsewhere.
struct Home {
  WeightHome weight = WeightHome::kDevice;
  std::int16_t gpu = 0;
};

class Homes {
 public:
  Homes(const PlanningTask& task, const DeviceMap& map) : task_(task), model_(*task.model), map_(map) {}

  Result<DeviceMapHomes> Run() {
    STOWAGE_RETURN_IF_ERROR(FindMain());
    std::size_t modules = 0;
    for (const Module& m : model_.modules) {  // parents come first
      const auto entry = map_.find(m.name);
      modules += entry != map_.end() ? 1 : 0;
      device_.push_back(entry != map_.end() ? std::optional(entry->second)
                        : m.parent == kNoId ? std::nullopt
                                            : device_[m.parent]);
    }
    names_tensors_ = modules < map_.size();
    for (const Tensor& t : model_.tensors) {
      const Tensor& owner = t.tied_to == kNoId ? t : model_.tensors[t.tied_to];
      STOWAGE_TRY(const Home home, HomeOf(owner));
      out_.weights.push_back(t.buffer ? WeightHome::kDevice : home.weight);
      out_.gpu.push_back(home.gpu);
    }
    Hooks();
    return std::move(out_);
  }

 private:
  std::int16_t GpuOf(accelerate::DeviceKey device) const {
    return device.kind == DeviceKind::kAccelerator ? static_cast<std::int16_t>(device.index) : out_.main;
  }

  // Of the devices that the map names; one that no weight is on makes no difference.
  Status FindMain() {
    std::optional<std::int64_t> lowest;
    for (const auto& [name, device] : map_) {
      if (device.kind == DeviceKind::kCpu || device.kind == DeviceKind::kDisk) continue;
      const auto gpus = static_cast<std::int64_t>(task_.machine->gpus.size());
      if (device.kind == DeviceKind::kMps || device.index < 0 || device.index >= gpus) {
        return Bad(fmt::format("the device map puts {} on device {}, and the machine has {} GPU{}",
                               name.empty() ? "the model" : name, Name(device), gpus, gpus == 1 ? "" : "s"));
      }
      lowest = std::min(lowest.value_or(device.index), device.index);
    }
    if (!lowest) {
      return Error{ErrorCode::kInfeasible,
                   "the device map puts no weight on the GPU: accelerate computes all of it on the CPU, which is not "
                   "simulated"};
    }
    out_.main = static_cast<std::int16_t>(*lowest);
    return OkStatus();
  }

  // What accelerate::DeviceOf says, with its answers for modules at hand.
  std::optional<accelerate::DeviceKey> DeviceOfTensor(const Tensor& tensor) const {
    const std::string& module = model_.modules[tensor.module].name;
    const std::size_t dot = tensor.name.rfind('.');
    if (tensor.name.compare(0, dot == std::string::npos ? 0 : dot, module) != 0) return DeviceOf(map_, tensor.name);
    const auto entry = names_tensors_ ? map_.find(tensor.name) : map_.end();
    return entry != map_.end() ? std::optional(entry->second) : device_[tensor.module];
  }

  Result<Home> HomeOf(const Tensor& tensor) const {
    const std::optional<accelerate::DeviceKey> device = DeviceOfTensor(tensor);
    if (!device && tensor.buffer) return Home{WeightHome::kDevice, out_.main};
    if (!device) return Bad(fmt::format("the device map gives no device for {} (ValueError)", tensor.name));
    const WeightHome weight = device->kind == DeviceKind::kCpu    ? WeightHome::kHost
                              : device->kind == DeviceKind::kDisk ? WeightHome::kDisk
                                                                  : WeightHome::kDevice;
    return Home{weight, GpuOf(*device)};
  }

  void Hooks() {
    std::vector<bool> stateful(model_.modules.size());
    for (const Tensor& t : model_.tensors) {
      if (t.buffer && !t.persistent) continue;
      for (ModuleId m = t.module; m != kNoId && !stateful[m]; m = model_.modules[m].parent) stateful[m] = true;
    }
    out_.module.assign(model_.modules.size(), -1);
    out_.hooked.assign(model_.modules.size(), false);
    for (std::size_t m = 0; m < model_.modules.size(); ++m) {
      const Module& module = model_.modules[m];
      const auto entry = map_.find(module.name);
      if (entry != map_.end()) {
        out_.module[m] = GpuOf(entry->second);
      } else if (module.parent != kNoId) {
        out_.module[m] = out_.module[module.parent];  // parents come first
      }
      out_.hooked[m] = m == 0 || entry != map_.end() || (out_.module[m] >= 0 && stateful[m]);
    }
  }

  const PlanningTask& task_;
  const Model& model_;
  const DeviceMap& map_;
  std::vector<std::optional<accelerate::DeviceKey>> device_;  // by ModuleId
  bool names_tensors_ = true;                                 // may be
  DeviceMapHomes out_;
};

}  // namespace

bool DeviceMapHomes::OneGpu() const {
  return std::all_of(gpu.begin(), gpu.end(), [](std::int16_t g) { return g == 0; });
}

Result<DeviceMapHomes> HomesOf(const PlanningTask& task, std::string_view words) {
  STOWAGE_TRY(const DeviceMap map, MapOf(task, words));
  return Homes(task, map).Run();
}

}  // namespace stowage

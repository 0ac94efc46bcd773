#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "planner/solve/accelerate/budgets.h"

namespace stowage::accelerate {
namespace {

constexpr DeviceKey kFirst{DeviceKind::kAccelerator, 0};

Number* Find(MaxMemory& budgets, DeviceKey device) {
  for (auto& [key, value] : budgets) {
    if (key == device) return &value;
  }
  return nullptr;
}

Error KeyError(std::int64_t index) {
  return Error{
      ErrorCode::kInfeasible,
      fmt::format("balanced_low_0 counts the accelerators from 0 and finds no budget for {} (KeyError)", index)};
}

// The first module of each class stands for the class, even if others of it are larger.
Number FirstOfEachClass(const PlacementTree& tree, const ModuleSizes& sizes, const std::vector<std::string>& classes) {
  std::unordered_map<std::string_view, bool> met;
  for (const std::string& name : classes) met.emplace(name, false);
  Number largest;
  for (const NodeId node : sizes.counted) {
    if (node == 0) continue;
    const auto it = met.find(tree.nodes[node].class_name);
    if (it == met.end() || it->second) continue;
    it->second = true;
    largest = Max(largest, sizes.bytes[node]);
  }
  return largest;
}

// The mean of the modules that own tensors and have no child module that does.
std::int64_t MeanOfLeaves(const PlacementTree& tree, const ModuleSizes& sizes) {
  std::vector<bool> inner(tree.nodes.size());
  std::vector<bool> counted(tree.nodes.size());
  for (const NodeId node : sizes.counted) counted[node] = tree.IsModule(node);
  for (NodeId node = 1; node < static_cast<NodeId>(tree.nodes.size()); ++node) {
    if (!counted[node]) continue;
    for (NodeId child = node + 1; child < tree.nodes[node].end && !inner[node]; ++child) inner[node] = counted[child];
  }
  Number sum;
  std::int64_t leaves = 0;
  for (NodeId node = 1; node < static_cast<NodeId>(tree.nodes.size()); ++node) {
    if (!counted[node] || inner[node]) continue;
    sum += sizes.bytes[node];
    ++leaves;
  }
  return Number::Float(sum.AsDouble() / static_cast<double>(std::max<std::int64_t>(leaves, 1))).Truncated();
}

Result<Number> LargestOfClasses(const PlacementTree& tree, const ModuleSizes& sizes,
                                const std::vector<std::string>& classes) {
  if (classes.empty()) return Number();
  const std::unordered_set<std::string_view> listed(classes.begin(), classes.end());
  std::optional<Number> largest;
  for (NodeId node = 0; node < static_cast<NodeId>(tree.nodes.size()); ++node) {
    const Node& module = tree.nodes[node];
    if (module.kind != NodeKind::kModule || module.copy || !listed.contains(module.class_name)) continue;
    largest = largest ? Max(*largest, sizes.bytes[node]) : sizes.bytes[node];
  }
  if (largest) return *largest;
  return Error{ErrorCode::kInfeasible,
               fmt::format("transformers balances by the largest module of the no-split classes, but no module is a "
                           "{} (ValueError)",
                           fmt::join(classes, " or a "))};
}

// The tensors a module owns itself, the root's excluded.
Number LargestOwn(const PlacementTree& tree, const ModuleSizes& sizes) {
  Number largest;
  for (NodeId node = 1; node < static_cast<NodeId>(tree.nodes.size()); ++node) {
    Number own;
    for (const NodeId tensor : tree.nodes[node].tensors) own += sizes.bytes[tensor];
    largest = Max(largest, own);
  }
  return largest;
}

Result<Number> Margin(const PlacementTree& tree, const ModuleSizes& sizes, const BalanceOptions& options) {
  Number largest;
  if (options.sizes.rules == Rules::kAccelerate) {
    largest = Max(FirstOfEachClass(tree, sizes, options.no_split), Number::Int(MeanOfLeaves(tree, sizes)));
  } else {
    STOWAGE_TRY(const Number block, LargestOfClasses(tree, sizes, options.no_split));
    largest = Max(block, LargestOwn(tree, sizes));
  }
  return Number::Int((Number::Float(1.25) * largest).Truncated());
}

}  // namespace

Result<MaxMemory> BalancedMaxMemory(const PlacementTree& tree, MaxMemory budgets, const BalanceOptions& options) {
  const bool transformers = options.sizes.rules == Rules::kTransformers;
  Number* const cpu = Find(budgets, {DeviceKind::kCpu, 0});
  if (options.found && transformers && cpu != nullptr) *cpu = *cpu * Number::Float(0.9);
  std::int64_t count = 0;
  std::vector<std::int64_t> accelerators;
  for (const auto& [device, value] : budgets) {
    if (device.kind == DeviceKind::kDisk && !transformers) {
      return Error{ErrorCode::kInvalidInput,
                   "balanced budgets take no \"disk\" entry: accelerate asks torch for a device of that name "
                   "(RuntimeError)"};
    }
    if (!(value > Number())) continue;
    const bool accelerator = device.kind == DeviceKind::kAccelerator;
    if (accelerator) accelerators.push_back(device.index);
    count += accelerator || (transformers && device.kind == DeviceKind::kMps) ? 1 : 0;
  }
  if (count == 0) return budgets;
  const bool low_zero = options.low_zero && count > 1;
  if (count == 1 && options.found && !budgets.empty() && budgets[0].first.kind == DeviceKind::kAccelerator) {
    budgets[0].second = budgets[0].second * Number::Float(0.9);
  }

  const ModuleSizes sizes = ComputeModuleSizes(tree, options.sizes);
  STOWAGE_TRY(const Number margin, Margin(tree, sizes, options));
  const Number share = FloorDivide(sizes.bytes[0], low_zero ? count - 1 : count) + margin;
  for (std::size_t i = 0; i + 1 < accelerators.size(); ++i) {
    Number& value = *Find(budgets, {DeviceKind::kAccelerator, accelerators[i]});
    if (!low_zero || accelerators[i] != 0) value = Min(share, value);
  }
  if (!low_zero) return budgets;

  Number others;
  for (std::int64_t i = 1; i < count; ++i) {
    const Number* const value = Find(budgets, {DeviceKind::kAccelerator, i});
    if (value == nullptr) return KeyError(i);
    others += *value;
  }
  Number* const first = Find(budgets, kFirst);
  if (first == nullptr) return KeyError(0);
  *first = Min(Max(Number(), sizes.bytes[0] - others), *first);
  return budgets;
}

}  // namespace stowage::accelerate

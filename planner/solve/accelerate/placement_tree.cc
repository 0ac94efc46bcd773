#include "planner/solve/accelerate/placement_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace stowage::accelerate {
namespace {

class TreeBuilder {
 public:
  explicit TreeBuilder(const Model& model) : model_(model), original_(model.modules.size()) {}

  PlacementTree Build() && {
    if (model_.modules.empty()) {
      tree_.nodes.push_back({.end = 1});
      return std::move(tree_);
    }
    FindOriginals();
    for (const std::vector<TensorId>& group : model_.tied_groups) {
      if (group_of_.try_emplace(Storage(group[0]), groups_.size()).second) groups_.emplace_back();
    }
    AddModule(0);
    for (std::vector<NodeId>& group : groups_) {
      if (group.size() < 2) continue;
      std::sort(group.begin(), group.end(),
                [&](NodeId a, NodeId b) { return tree_.nodes[a].name < tree_.nodes[b].name; });
      tree_.tied_groups.push_back(std::move(group));
    }
    return std::move(tree_);
  }

 private:
  // For each module the one that was registered first for the same object: what same_as says, or the same place in the
  // original of the module around it.
  void FindOriginals() {
    for (ModuleId m = 0; m < static_cast<ModuleId>(model_.modules.size()); ++m) {
      const Module& module = model_.modules[m];
      ModuleId& original = original_[m] = m;
      if (module.same_as != kNoId) {
        original = original_[module.same_as];
      } else if (module.parent != kNoId && original_[module.parent] != module.parent) {
        const std::string_view own = std::string_view(module.name).substr(model_.modules[module.parent].name.size());
        const Module& around = model_.modules[original_[module.parent]];
        for (const ModuleId child : around.children) {
          const std::string_view name = std::string_view(model_.modules[child].name).substr(around.name.size());
          if (name == own) original = original_[child];
        }
      }
    }
  }

  TensorId Storage(TensorId tensor) const {
    while (model_.tensors[tensor].tied_to != kNoId) tensor = model_.tensors[tensor].tied_to;
    return tensor;
  }

  NodeId AddModule(ModuleId id) {
    const Module& module = model_.modules[id];
    const NodeId node = Push({.name = module.name, .class_name = module.class_name, .copy = original_[id] != id});
    for (const bool buffers : {false, true}) {
      std::unordered_set<TensorId> seen;
      for (const TensorId t : module.tensors) {
        if (model_.tensors[t].buffer == buffers) AddTensor(node, t, seen);
      }
    }
    std::unordered_set<ModuleId> seen;
    for (const ModuleId child : module.children) {
      const NodeId added = AddModule(child);
      if (seen.insert(original_[child]).second) tree_.nodes[node].children.push_back(added);
    }
    tree_.nodes[node].end = static_cast<NodeId>(tree_.nodes.size());
    return node;
  }

  void AddTensor(NodeId module, TensorId id, std::unordered_set<TensorId>& seen) {
    const Tensor& tensor = model_.tensors[id];
    const TensorId storage = Storage(id);
    const NodeId node = Push({.name = tensor.name,
                              .class_name = tensor.buffer ? "Tensor" : "Parameter",
                              .kind = tensor.buffer ? NodeKind::kBuffer : NodeKind::kParameter,
                              .storage = storage,
                              .again = !seen.insert(storage).second,
                              .owner = tensor.tied_to == kNoId,
                              .persistent = tensor.persistent,
                              .dtype = tensor.dtype,
                              .elements = Elements(tensor.shape),
                              .bytes = tensor.bytes()});
    tree_.nodes[node].end = node + 1;
    tree_.nodes[module].tensors.push_back(node);
    if (tensor.buffer) return;
    const auto [it, first] = group_of_.try_emplace(storage, groups_.size());
    if (first) groups_.emplace_back();
    groups_[it->second].push_back(node);
  }

  NodeId Push(Node node) {
    tree_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(tree_.nodes.size() - 1);
  }

  const Model& model_;
  std::vector<ModuleId> original_;
  PlacementTree tree_;
  std::vector<std::vector<NodeId>> groups_;
  std::unordered_map<TensorId, std::size_t> group_of_;
};

Number OwnBytesPerElement(DType dtype, Rules rules) {
  if (dtype == DType::kBool && rules == Rules::kAccelerate) return Number::Float(0.125);
  return Number::Int(SizeOf(dtype, 1).value());
}

Number OwnBytes(const Node& tensor, Rules rules) {
  if (tensor.dtype == DType::kBool && rules == Rules::kAccelerate) return Number::Float(0.125 * tensor.elements);
  return Number::Int(tensor.bytes.value());
}

Number CountedBytes(const Node& tensor, std::string_view name, const SizeOptions& options) {
  if (options.rules == Rules::kTransformers) return OwnBytes(tensor, options.rules);
  if (const auto it = options.special.find(name); it != options.special.end()) {
    return Number::Int(tensor.elements) * it->second;
  }
  if (!options.dtype || !IsFloating(tensor.dtype)) return OwnBytes(tensor, options.rules);
  return Number::Int(tensor.elements) * Min(*options.dtype, OwnBytesPerElement(tensor.dtype, options.rules));
}

}  // namespace

NodeId PlacementTree::Find(std::string_view name) const {
  const auto it = std::find_if(nodes.begin(), nodes.end(), [&](const Node& n) { return n.name == name; });
  return it == nodes.end() ? kNoId : static_cast<NodeId>(it - nodes.begin());
}

PlacementTree TreeOf(const Model& model) { return TreeBuilder(model).Build(); }

Result<Number> BytesPerElement(std::string_view dtype) {
  struct Row {
    std::string_view name;
    Number bytes;
  };
  static constexpr std::array kRows = {
      Row{"bool", Number::Float(0.125)},      Row{"int4", Number::Float(0.5)},
      Row{"int2", Number::Float(0.25)},       Row{"fp8", Number::Int(1)},
      Row{"uint16", Number::Int(2)},          Row{"uint32", Number::Int(4)},
      Row{"uint64", Number::Int(8)},          Row{"float8_e4m3fnuz", Number::Int(1)},
      Row{"float8_e5m2fnuz", Number::Int(1)}, Row{"float8_e8m0fnu", Number::Int(1)},
      Row{"complex64", Number::Int(8)},       Row{"complex128", Number::Int(16)},
  };
  std::string_view name = dtype;
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (const Row& row : kRows) {
    if (row.name == name) return row.bytes;
  }
  const std::optional<DType> known = ParseDType(name);
  if (!known) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("'{}' is not an element type (like float16, bfloat16, int8, int4, bool)", dtype)};
  }
  return OwnBytesPerElement(*known, Rules::kAccelerate);
}

ModuleSizes ComputeModuleSizes(const PlacementTree& tree, const SizeOptions& options) {
  ModuleSizes sizes{.bytes = std::vector<Number>(tree.nodes.size()), .counted = {}};
  std::vector<bool> known(tree.nodes.size());
  const auto add = [&](NodeId node, Number bytes) {
    if (!known[node]) sizes.counted.push_back(node);
    known[node] = true;
    sizes.bytes[node] += bytes;
  };
  for (const NodeKind kind : {NodeKind::kParameter, NodeKind::kBuffer}) {
    std::unordered_set<std::int32_t> seen;
    std::vector<NodeId> path;  // the modules around a node
    for (NodeId n = 0; n < static_cast<NodeId>(tree.nodes.size()); ++n) {
      const Node& node = tree.nodes[n];
      while (!path.empty() && tree.nodes[path.back()].end <= n) path.pop_back();
      if (node.kind == NodeKind::kModule) path.push_back(n);
      if (node.kind != kind) continue;
      // A transformers model is not tied yet when this is asked: its aliases are left out by name.
      const bool counts = options.rules == Rules::kTransformers && kind == NodeKind::kParameter
                              ? node.owner
                              : seen.insert(node.storage).second;
      if (!counts) continue;
      const Number bytes = CountedBytes(node, node.name, options);
      for (const NodeId module : path) add(module, bytes);
      add(n, bytes);
    }
  }
  return sizes;
}

Number TotalBufferBytes(const PlacementTree& tree, NodeId module, const SizeOptions& options) {
  const std::size_t prefix = tree.nodes[module].name.empty() ? 0 : tree.nodes[module].name.size() + 1;
  Number total;
  std::unordered_set<std::int32_t> seen;
  for (NodeId n = module; n < tree.nodes[module].end; ++n) {
    const Node& node = tree.nodes[n];
    if (node.kind != NodeKind::kBuffer || !seen.insert(node.storage).second) continue;
    total += CountedBytes(node, std::string_view(node.name).substr(prefix), options);
  }
  return total;
}

NoSplit::NoSplit(const PlacementTree& tree, const std::vector<std::string>& classes) {
  const std::unordered_set<std::string_view> listed(classes.begin(), classes.end());
  layer_.reserve(tree.nodes.size());
  for (const Node& node : tree.nodes) layer_.push_back(node.children.empty() || listed.contains(node.class_name));
}

LargestLayer FindLargestLayer(const PlacementTree& tree, const ModuleSizes& sizes, const NoSplit& no_split,
                              const std::vector<NodeId>& items) {
  LargestLayer largest;
  std::vector<NodeId> open = items;
  while (!open.empty()) {
    const NodeId node = open.back();
    open.pop_back();
    if (!no_split.IsLayer(node)) {
      open.insert(open.end(), tree.nodes[node].children.rbegin(), tree.nodes[node].children.rend());
      continue;
    }
    if (sizes.bytes[node] > largest.bytes) largest = {sizes.bytes[node], {}};
    if (sizes.bytes[node] == largest.bytes) largest.layers.push_back(node);
  }
  return largest;
}

}  // namespace stowage::accelerate

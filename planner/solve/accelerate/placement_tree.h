// A model as accelerate sees it: named_parameters(), named_buffers() and named_children() of every module, and the
// bytes of everything that has a name. All orders are the ones Python walks in, because they decide the result.
//
//   PlacementTree tree = TreeOf(model);
//   ModuleSizes sizes = ComputeModuleSizes(tree, {});
//   sizes.bytes[tree.Find("model.layers.0")]
//
// Python tells objects apart by identity: a parameter registered under several names counts under the first, a module
// registered twice in one parent is a child once. Both are told from Tensor::tied_to and Module::same_as.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/solve/accelerate/number.h"

namespace stowage::accelerate {

// Whose functions: accelerate 1.15's, or transformers 5.23's own copies of them (`device_map=` of from_pretrained).
enum class Rules : std::uint8_t { kAccelerate, kTransformers };

using NodeId = std::int32_t;

enum class NodeKind : std::uint8_t { kModule, kParameter, kBuffer };

struct Node {
  std::string name;        // dotted path
  std::string class_name;  // a tensor's: "Parameter" or "Tensor"
  NodeKind kind = NodeKind::kModule;
  NodeId end = 0;                // the subtree is [this, end)
  std::vector<NodeId> children;  // named_children(): modules, the same object once
  std::vector<NodeId> tensors;   // own parameters, then own buffers, the same object included
  std::int32_t storage = kNoId;  // of a tensor: its number; equal numbers are one object
  bool again = false;            // a tensor whose object its own module has registered before, under another name
  bool copy = false;             // a module object seen before on the walk
  bool owner = false;            // of a tensor: the one the others of its group are tied to
  bool persistent = true;        // of a buffer
  DType dtype = DType::kF32;     // of a tensor
  std::int64_t elements = 0;     // of a tensor
  Bytes bytes;                   // of a tensor
};

struct PlacementTree {
  // Pre-order: [0] is the root, a module's own tensors come before its children. No two nodes have one name.
  std::vector<Node> nodes;
  // Parameters that have several names, in the order of Model::tied_groups, others after them by the first name on the
  // walk; the names of a group sorted.
  std::vector<std::vector<NodeId>> tied_groups;

  bool IsInside(NodeId node, NodeId of) const { return node > of && node < nodes[of].end; }
  bool IsModule(NodeId node) const { return nodes[node].kind == NodeKind::kModule; }
  NodeId Find(std::string_view name) const;  // kNoId when absent; linear
};

PlacementTree TreeOf(const Model& model);

// Bytes that accelerate takes for one element of a type: torch's names ("float16", "torch.bfloat16", "int8", "bool":
// 0.125) and its CustomDtype ("int4": 0.5, "int2": 0.25, "fp8": 1). kInvalidInput for others.
Result<Number> BytesPerElement(std::string_view dtype);

struct SizeOptions {
  Rules rules = Rules::kAccelerate;  // transformers ignores the two below: its model is built in its dtype
  // Floating tensors take at most this per element.
  std::optional<Number> dtype = std::nullopt;
  // Tensor name -> bytes per element, whatever its type.
  std::map<std::string, Number, std::less<>> special = {};
};

struct ModuleSizes {
  std::vector<Number> bytes;    // by node; 0 for names that do not count
  std::vector<NodeId> counted;  // the names that do, in the order of accelerate's dictionary
};

ModuleSizes ComputeModuleSizes(const PlacementTree& tree, const SizeOptions& options);

// Bytes of all buffers below a module. Special dtypes are looked up by the name relative to it, as accelerate does.
Number TotalBufferBytes(const PlacementTree& tree, NodeId module, const SizeOptions& options);

// Which modules are computed whole. accelerate calls a tensor, a module without child modules and one of these a layer.
class NoSplit {
 public:
  NoSplit(const PlacementTree& tree, const std::vector<std::string>& classes);
  bool IsLayer(NodeId node) const { return layer_[node]; }

 private:
  std::vector<bool> layer_;
};

struct LargestLayer {
  Number bytes;
  std::vector<NodeId> layers;  // all that have it
};

// The largest layer among `items` and below; direct tensors of a module that is split do not count. The last item comes
// first, as in a work list: of equal layers the first one says whether the number is a float.
LargestLayer FindLargestLayer(const PlacementTree& tree, const ModuleSizes& sizes, const NoSplit& no_split,
                              const std::vector<NodeId>& items);

}  // namespace stowage::accelerate

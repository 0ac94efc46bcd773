// The words that op graphs of all families are said in. Layer types (attention, MLPs, experts) and frames (decoders,
// encoders) are functions over this class, one file each; they find modules by their names in the tree, so a family needs
// no description of its own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/model/op_graph.h"

namespace stowage {

// FLOPs per element of the cheap operations. They never decide a time on their own; they are counted so that a sum over
// ops is honest.
inline constexpr double kNormFlops = 4;        // square, accumulate, times the root, times the gain
inline constexpr double kRopeFlops = 3;        // two products and a sum; the angles are not counted
inline constexpr double kActivationFlops = 4;  // silu: negate, exp, add, divide; the others alike

class GraphBuilder {
 public:
  GraphBuilder(const Model& model, const Pass& pass, std::int64_t cache_positions);

  const Model& model() const { return model_; }
  const TransformerShape& shape() const { return model_.shape; }
  const Pass& pass() const { return graph_.pass; }
  OpGraph& graph() { return graph_; }
  const OpGraph& graph() const { return graph_; }
  const Value& value(ValueId id) const { return graph_.values[static_cast<std::size_t>(id)]; }
  DType dtype() const { return dtype_; }  // of activations and caches
  std::int64_t rows() const { return graph_.pass.batch * graph_.pass.tokens; }

  // The child of that name; the first of several names that is there. kNoId when none is.
  ModuleId Find(ModuleId parent, std::string_view child) const;
  ModuleId FindAny(ModuleId parent, std::initializer_list<std::string_view> children) const;
  // A tensor that the module itself owns, by the last part of its name. kNoId when it has none.
  TensorId OwnTensor(ModuleId module, std::string_view name) const;
  const std::string& NameOf(ModuleId module) const { return model_.modules[static_cast<std::size_t>(module)].name; }
  const std::string& ClassOf(ModuleId module) const {
    return model_.modules[static_cast<std::size_t>(module)].class_name;
  }
  const std::vector<ModuleId>& Children(ModuleId module) const {
    return model_.modules[static_cast<std::size_t>(module)].children;
  }
  const Tensor& tensor(TensorId id) const { return model_.tensors[static_cast<std::size_t>(id)]; }

  ValueId Add(Value value);
  ValueId Activation(std::string name, std::int64_t rows, std::int64_t width);

  // An op whose operands are all read or written whole; callers correct the others. The reference holds until the next.
  Op& Emit(OpKind kind, std::string name, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
           std::vector<ValueId> outputs, double flops);
  void Use(Op& op, TensorId tensor);  // read whole; kNoId: nothing

  // y = x W^T (+ bias), with every tensor of the module: also scales of quantized weights. Conv1D's W is [in, out].
  ValueId Linear(ModuleId module, std::int32_t layer, ValueId x, ValueKind kind = ValueKind::kActivation);
  // The norm that the module's class computes, over rows of its gain's width: several to a row of x for one per head.
  // `columns` > 0: only over that many leading columns, the others pass unchanged.
  ValueId Norm(ModuleId module, std::int32_t layer, ValueId x, std::int64_t columns = 0);
  // One result an element of inputs[0].
  ValueId Elementwise(OpKind kind, std::string name, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
                      double flops_per_element);
  // The activation of a module of one of transformers' activation classes.
  ValueId Activate(ModuleId activation, std::int32_t layer, ValueId x);
  ValueId Residual(const std::string& name, ModuleId module, std::int32_t layer, ValueId x, ValueId y) {
    return Elementwise(OpKind::kAdd, name, module, layer, {x, y}, 1);
  }

  ValueId TokenIds();
  ValueId SourceIds(std::int64_t positions);  // a sequence: what an encoder reads before the decoder
  // Gathers a row of the module's table for each token id.
  ValueId Embedding(ModuleId module, ValueId ids);
  // Adds `count` different rows of a table (a position each, or one type for all) to x.
  ValueId AddRows(ModuleId module, TensorId table, std::int64_t count, ValueId x);
  // Leaves out all but the last position. `module` names the op.
  ValueId LastToken(ModuleId module, ValueId x);
  void Argmax(ValueId logits);

  OpGraph Take() { return std::move(graph_); }

 private:
  const Model& model_;
  OpGraph graph_;
  DType dtype_ = DType::kF32;
};

}  // namespace stowage

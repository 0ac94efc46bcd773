#include "planner/families/ops/graph_builder.h"

#include <utility>

#include "planner/base/check.h"

namespace stowage {
namespace {

OpKind NormKind(const std::string& class_name) {
  if (class_name == "LayerNorm" || class_name == "CohereLayerNorm") return OpKind::kLayerNorm;
  if (class_name.starts_with("Gemma")) return OpKind::kRmsNormOnePlus;
  return OpKind::kRmsNorm;  // T5LayerNorm is one too
}

OpKind ActivationKind(const std::string& c) {
  if (c == "SiLUActivation" || c == "SiLU") return OpKind::kSilu;
  if (c == "ReLU") return OpKind::kRelu;
  if (c == "Tanh") return OpKind::kTanh;
  if (c == "QuickGELUActivation") return OpKind::kQuickGelu;
  if (c == "GELUActivation" || c == "GELU") return OpKind::kGelu;
  for (const char* tanh : {"GELUTanh", "PytorchGELUTanh", "NewGELUActivation", "FastGELUActivation", "BloomGelu"}) {
    if (c == tanh) return OpKind::kGeluTanh;
  }
  return OpKind::kOtherActivation;
}

}  // namespace

GraphBuilder::GraphBuilder(const Model& model, const Pass& pass, std::int64_t cache_positions)
    : model_(model), dtype_(model.ComputeDType()) {
  graph_.pass = pass;
  graph_.cache_positions = cache_positions;
}

ModuleId GraphBuilder::Find(ModuleId parent, std::string_view child) const {
  if (parent == kNoId) return kNoId;
  const std::size_t prefix = NameOf(parent).empty() ? 0 : NameOf(parent).size() + 1;
  for (const ModuleId m : Children(parent)) {
    const std::string& name = NameOf(m);
    if (name.size() == prefix + child.size() && name.ends_with(child)) return m;
  }
  return kNoId;
}

ModuleId GraphBuilder::FindAny(ModuleId parent, std::initializer_list<std::string_view> children) const {
  for (const std::string_view child : children) {
    if (const ModuleId found = Find(parent, child); found != kNoId) return found;
  }
  return kNoId;
}

TensorId GraphBuilder::OwnTensor(ModuleId module, std::string_view name) const {
  if (module == kNoId) return kNoId;
  const std::size_t prefix = NameOf(module).empty() ? 0 : NameOf(module).size() + 1;
  for (const TensorId t : model_.modules[static_cast<std::size_t>(module)].tensors) {
    if (tensor(t).name.size() == prefix + name.size() && tensor(t).name.ends_with(name)) return t;
  }
  return kNoId;
}

ValueId GraphBuilder::Add(Value value) {
  graph_.values.push_back(std::move(value));
  return static_cast<ValueId>(graph_.values.size() - 1);
}

ValueId GraphBuilder::Activation(std::string name, std::int64_t rows, std::int64_t width) {
  return Add({std::move(name), ValueKind::kActivation, dtype_, rows, width});
}

Op& GraphBuilder::Emit(OpKind kind, std::string name, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
                       std::vector<ValueId> outputs, double flops) {
  Op op;
  op.kind = kind;
  op.name = std::move(name);
  op.module = module;
  op.layer = layer;
  for (const ValueId v : inputs) op.activation_bytes.base += value(v).bytes().value();
  for (const ValueId v : outputs) op.activation_bytes.base += value(v).bytes().value();
  op.inputs = std::move(inputs);
  op.outputs = std::move(outputs);
  op.flops.base = flops;
  graph_.ops.push_back(std::move(op));
  return graph_.ops.back();
}

void GraphBuilder::Use(Op& op, TensorId id) {
  if (id == kNoId) return;
  op.weights.push_back(id);
  op.weight_bytes.base += tensor(id).bytes().value();
}

ValueId GraphBuilder::Linear(ModuleId module, std::int32_t layer, ValueId x, ValueKind kind) {
  const TensorId weight = OwnTensor(module, "weight");
  STOWAGE_CHECK(weight != kNoId);
  const TensorId bias = OwnTensor(module, "bias");
  const Shape& shape = tensor(weight).shape;
  const bool transposed = ClassOf(module) == "Conv1D";
  const std::int64_t rows = value(x).rows, n = shape[transposed ? 1 : 0], k = shape[transposed ? 0 : 1];
  const ValueId out = Activation(NameOf(module) + ".out", rows, n);
  graph_.values[static_cast<std::size_t>(out)].kind = kind;
  const double flops = 2.0 * static_cast<double>(rows * n) * static_cast<double>(k) +
                       (bias == kNoId ? 0 : static_cast<double>(rows * n));
  Op& op = Emit(OpKind::kLinear, NameOf(module), module, layer, {x}, {out}, flops);
  Use(op, weight);
  for (const TensorId t : model_.modules[static_cast<std::size_t>(module)].tensors) {
    if (t != weight && t != bias) Use(op, t);
  }
  Use(op, bias);
  return out;
}

ValueId GraphBuilder::Norm(ModuleId module, std::int32_t layer, ValueId x, std::int64_t columns) {
  const std::int64_t rows = value(x).rows, width = value(x).width;
  const ValueId out = Activation(NameOf(module) + ".out", rows, width);
  const std::int64_t elements = rows * (columns > 0 ? columns : width);
  Op& op = Emit(NormKind(ClassOf(module)), NameOf(module), module, layer, {x}, {out},
                kNormFlops * static_cast<double>(elements));
  if (columns > 0) op.activation_bytes = AffineBytes(2 * SizeOf(dtype_, elements));
  for (const TensorId t : model_.modules[static_cast<std::size_t>(module)].tensors) Use(op, t);
  return out;
}

ValueId GraphBuilder::Elementwise(OpKind kind, std::string name, ModuleId module, std::int32_t layer,
                                  std::vector<ValueId> inputs, double flops_per_element) {
  const std::int64_t rows = value(inputs[0]).rows, width = value(inputs[0]).width;
  const ValueId out = Activation(name + ".out", rows, width);
  Emit(kind, std::move(name), module, layer, std::move(inputs), {out},
       flops_per_element * static_cast<double>(rows * width));
  return out;
}

ValueId GraphBuilder::Activate(ModuleId activation, std::int32_t layer, ValueId x) {
  return Elementwise(ActivationKind(ClassOf(activation)), NameOf(activation), activation, layer, {x}, kActivationFlops);
}

ValueId GraphBuilder::TokenIds() {
  graph_.token_ids = Add({"input_ids", ValueKind::kTokenIds, DType::kI32, rows(), 1});
  return graph_.token_ids;
}

ValueId GraphBuilder::SourceIds(std::int64_t positions) {
  graph_.source_ids = Add({"source_ids", ValueKind::kTokenIds, DType::kI32, positions * graph_.pass.batch, 1});
  return graph_.source_ids;
}

ValueId GraphBuilder::Embedding(ModuleId module, ValueId ids) {
  const TensorId table = OwnTensor(module, "weight");
  STOWAGE_CHECK(table != kNoId);
  const ValueId out = Activation(NameOf(module) + ".out", value(ids).rows, tensor(table).shape[1]);
  Op& op = Emit(OpKind::kEmbedding, NameOf(module), module, kNoId, {ids}, {out}, 0);
  op.weights = {table};
  op.weight_bytes = tensor(table).RowBytes() * value(out).rows;  // the gathered rows only
  return out;
}

ValueId GraphBuilder::AddRows(ModuleId module, TensorId table, std::int64_t count, ValueId x) {
  const ValueId out = Activation(tensor(table).name + ".out", value(x).rows, value(x).width);
  Op& op = Emit(OpKind::kAddRows, tensor(table).name, module, kNoId, {x}, {out},
                static_cast<double>(value(x).rows * value(x).width));
  op.weights = {table};
  op.weight_bytes = tensor(table).bytes() * (count * value(x).width) / Elements(tensor(table).shape);
  return out;
}

ValueId GraphBuilder::LastToken(ModuleId module, ValueId x) {
  const std::string name = (NameOf(module).empty() ? "" : NameOf(module) + ".") + "last_token";
  const ValueId out = Activation(name + ".out", graph_.pass.batch, value(x).width);
  Op& op = Emit(OpKind::kLastToken, name, module, kNoId, {x}, {out}, 0);
  op.activation_bytes = AffineBytes(2 * value(out).bytes());
  return out;
}

// Chooses from the last position's logits only.
void GraphBuilder::Argmax(ValueId logits) {
  const std::int64_t rows = graph_.pass.batch, width = value(logits).width;
  graph_.logits = logits;
  graph_.next_ids = Add({"next_ids", ValueKind::kTokenIds, DType::kI32, rows, 1});
  Op& op = Emit(OpKind::kArgmax, "argmax", 0, kNoId, {logits}, {graph_.next_ids}, static_cast<double>(rows * width));
  op.activation_bytes = AffineBytes(SizeOf(dtype_, rows * width) + value(graph_.next_ids).bytes());
}

}  // namespace stowage

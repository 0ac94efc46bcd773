#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "planner/base/check.h"
#include "planner/families/llama.h"

namespace stowage {
namespace {

// FLOPs per element of the cheap operations. They never decide a time on their own; they are counted so that a sum over
// ops is honest.
constexpr double kNormFlops = 4;  // square, accumulate, times the root, times the gain
constexpr double kRopeFlops = 3;  // two products and a sum; the angles are not counted
constexpr double kSiluFlops = 4;  // negate, exp, add, divide

// Walks the layers in execution order. Rows are pass.batch * pass.tokens, position-major.
class Builder {
 public:
  Builder(const Model& model, const Pass& pass, std::int64_t cache_positions) : model_(model), s_(model.shape) {
    graph_.pass = pass;
    graph_.cache_positions = cache_positions;
    rows_ = pass.batch * pass.tokens;
    root_ = model.class_name.ends_with("ForCausalLM") ? model.modules[0].children[0] : 0;
    dtype_ = model.ComputeDType();
  }

  OpGraph Build() {
    graph_.token_ids = Add({"input_ids", ValueKind::kTokenIds, DType::kI32, rows_, 1});
    ValueId x = Embedding();
    const ModuleId layers = Child(root_, 1);
    for (std::int32_t i = 0; i < s_.layers; ++i) x = Layer(Child(layers, i), i, x);
    const bool head = root_ != 0;
    if (head && !graph_.pass.all_logits && graph_.pass.tokens > 1) x = LastToken(x);
    x = Norm(Child(root_, 2), kNoId, x);
    if (head) {
      graph_.logits = Linear(Child(0, 1), kNoId, x, ValueKind::kLogits);
      Argmax();
    }
    return std::move(graph_);
  }

 private:
  // Registration order is fixed by BuildLlama; names would cost a search each.
  ModuleId Child(ModuleId module, std::size_t index) const { return model_.modules[module].children[index]; }
  const Value& value(ValueId id) const { return graph_.values[id]; }

  ValueId Add(Value value) {
    graph_.values.push_back(std::move(value));
    return static_cast<ValueId>(graph_.values.size() - 1);
  }

  ValueId Activation(std::string name, std::int64_t rows, std::int64_t width) {
    return Add({std::move(name), ValueKind::kActivation, dtype_, rows, width});
  }

  // An op whose operands are all read or written whole; callers correct the others.
  Op& Emit(OpKind kind, std::string name, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
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

  void Use(Op& op, TensorId tensor) {
    op.weights.push_back(tensor);
    op.weight_bytes.base += model_.tensors[tensor].bytes().value();
  }

  ValueId Embedding() {
    const ModuleId module = Child(root_, 0);
    const std::string& name = model_.modules[module].name;
    const ValueId out = Activation(name + ".out", rows_, s_.hidden);
    Op& op = Emit(OpKind::kEmbedding, name, module, kNoId, {graph_.token_ids}, {out}, 0);
    op.weights = {model_.modules[module].tensors[0]};
    op.weight_bytes = model_.tensors[op.weights[0]].RowBytes() * rows_;  // the gathered rows only
    return out;
  }

  ValueId Norm(ModuleId module, std::int32_t layer, ValueId x) {
    const std::string& name = model_.modules[module].name;
    const std::int64_t rows = value(x).rows;
    const ValueId out = Activation(name + ".out", rows, s_.hidden);
    Op& op =
        Emit(OpKind::kRmsNorm, name, module, layer, {x}, {out}, kNormFlops * static_cast<double>(rows * s_.hidden));
    Use(op, model_.modules[module].tensors[0]);
    return out;
  }

  ValueId Linear(ModuleId module, std::int32_t layer, ValueId x, ValueKind kind = ValueKind::kActivation) {
    const Module& m = model_.modules[module];
    const Shape& w = model_.tensors[m.tensors[0]].shape;
    const std::int64_t rows = value(x).rows;
    const ValueId out = Add({m.name + ".out", kind, dtype_, rows, w[0]});
    double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(w[0]) * static_cast<double>(w[1]);
    if (m.tensors.size() > 1) flops += static_cast<double>(rows * w[0]);
    Op& op = Emit(OpKind::kLinear, m.name, module, layer, {x}, {out}, flops);
    for (const TensorId t : m.tensors) Use(op, t);
    return out;
  }

  ValueId Elementwise(OpKind kind, std::string name, ModuleId module, std::int32_t layer, std::vector<ValueId> inputs,
                      double flops_per_element) {
    const std::int64_t rows = value(inputs[0]).rows;
    const std::int64_t width = value(inputs[0]).width;
    const ValueId out = Activation(name + ".out", rows, width);
    Emit(kind, std::move(name), module, layer, std::move(inputs), {out},
         flops_per_element * static_cast<double>(rows * width));
    return out;
  }

  ValueId Layer(ModuleId module, std::int32_t layer, ValueId x) {
    const std::string& name = model_.modules[module].name;
    ValueId y = Norm(Child(module, 2), layer, x);
    y = Attention(Child(module, 0), layer, y);
    x = Elementwise(OpKind::kAdd, name + ".attention_residual", module, layer, {x, y}, 1);
    y = Norm(Child(module, 3), layer, x);
    y = Mlp(Child(module, 1), layer, y);
    return Elementwise(OpKind::kAdd, name + ".mlp_residual", module, layer, {x, y}, 1);
  }

  ValueId Mlp(ModuleId module, std::int32_t layer, ValueId x) {
    const ValueId gate = Linear(Child(module, 0), layer, x);
    const ValueId up = Linear(Child(module, 1), layer, x);
    const ModuleId act = Child(module, 3);
    const ValueId silu = Elementwise(OpKind::kSilu, model_.modules[act].name, act, layer, {gate}, kSiluFlops);
    const ValueId product =
        Elementwise(OpKind::kMul, model_.modules[module].name + ".mul", module, layer, {silu, up}, 1);
    return Linear(Child(module, 2), layer, product);
  }

  ValueId Attention(ModuleId module, std::int32_t layer, ValueId x) {
    const std::string& name = model_.modules[module].name;
    const ValueId q = Linear(Child(module, 0), layer, x);
    const ValueId k = Linear(Child(module, 1), layer, x);
    const ValueId v = Linear(Child(module, 2), layer, x);
    const ValueId rotated_q = Activation(name + ".rotated_q", rows_, value(q).width);
    const ValueId rotated_k = Activation(name + ".rotated_k", rows_, value(k).width);
    Op& rope = Emit(OpKind::kRope, name + ".rope", module, layer, {q, k}, {rotated_q, rotated_k},
                    kRopeFlops * static_cast<double>(rows_ * (value(q).width + value(k).width)));
    Use(rope, model_.modules[Child(root_, 3)].tensors[0]);
    const auto [keys, values] = CacheAppend(module, layer, rotated_k, v);
    return Linear(Child(module, 3), layer, Attend(module, layer, rotated_q, keys, values));
  }

  std::pair<ValueId, ValueId> CacheAppend(ModuleId module, std::int32_t layer, ValueId k, ValueId v) {
    const std::string& name = model_.modules[module].name;
    const std::int64_t rows = graph_.cache_positions * graph_.pass.batch;
    const ValueId keys = Add({name + ".keys", ValueKind::kKeys, dtype_, rows, value(k).width, layer});
    const ValueId values = Add({name + ".values", ValueKind::kValues, dtype_, rows, value(v).width, layer});
    Op& op = Emit(OpKind::kCacheAppend, name + ".cache_append", module, layer, {k, v}, {keys, values}, 0);
    // Reads the new rows and writes as much; the rest of the cache stays untouched.
    op.activation_bytes = AffineBytes(2 * (value(k).bytes() + value(v).bytes()));
    return {keys, values};
  }

  // Query t of a sequence sees past + t + 1 positions: tokens * past + tokens (tokens + 1) / 2 pairs a head, and a pair
  // costs 2 d for the score and 2 d for its share of the output.
  ValueId Attend(ModuleId module, std::int32_t layer, ValueId q, ValueId keys, ValueId values) {
    const Pass& pass = graph_.pass;
    const std::string name = model_.modules[module].name + ".attention";
    const ValueId out = Activation(name + ".out", rows_, value(q).width);
    Op& op = Emit(OpKind::kAttention, name, module, layer, {q, keys, values}, {out}, 0);
    const double per_pair = 4.0 * static_cast<double>(pass.batch * s_.heads * s_.head_dim);
    const std::int64_t pairs = pass.tokens * pass.past + pass.tokens * (pass.tokens + 1) / 2;
    op.flops = {per_pair * static_cast<double>(pairs), per_pair * static_cast<double>(pass.tokens * pass.past_step)};
    const std::int64_t position =
        (SizeOf(dtype_, value(keys).width) + SizeOf(dtype_, value(values).width)).value() * pass.batch;
    op.activation_bytes = {(value(q).bytes() + value(out).bytes()).value() + position * (pass.past + pass.tokens),
                           position * pass.past_step};
    return out;
  }

  ValueId LastToken(ValueId x) {
    const std::string name =
        (model_.modules[root_].name.empty() ? "" : model_.modules[root_].name + ".") + "last_token";
    const ValueId out = Activation(name + ".out", graph_.pass.batch, s_.hidden);
    Op& op = Emit(OpKind::kLastToken, name, root_, kNoId, {x}, {out}, 0);
    op.activation_bytes = AffineBytes(2 * value(out).bytes());
    return out;
  }

  // Chooses from the last position's logits only.
  void Argmax() {
    const std::int64_t rows = graph_.pass.batch;
    const std::int64_t width = value(graph_.logits).width;
    graph_.next_ids = Add({"next_ids", ValueKind::kTokenIds, DType::kI32, rows, 1});
    Op& op = Emit(OpKind::kArgmax, "argmax", 0, kNoId, {graph_.logits}, {graph_.next_ids},
                  static_cast<double>(rows * width));
    op.activation_bytes = AffineBytes(SizeOf(dtype_, rows * width) + value(graph_.next_ids).bytes());
  }

  const Model& model_;
  const TransformerShape& s_;
  OpGraph graph_;
  std::int64_t rows_ = 0;
  ModuleId root_ = 0;  // the module of class LlamaModel (or of mistral's, qwen2's)
  DType dtype_ = DType::kF32;
};

}  // namespace

OpGraph BuildLlamaOpGraph(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  return Builder(model, pass, cache_positions).Build();
}

}  // namespace stowage

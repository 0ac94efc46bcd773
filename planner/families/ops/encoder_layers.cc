#include "planner/families/ops/encoder_layers.h"

#include <vector>

#include "planner/families/ops/attention.h"
#include "planner/families/ops/mlp.h"

namespace stowage {

ValueId Projected(GraphBuilder& g, ModuleId module, ModuleId out, std::int32_t layer, ValueId x, bool causal,
                  TensorId bias) {
  const ValueId q = g.Linear(g.FindAny(module, {"q_proj", "query", "q"}), layer, x);
  const ValueId k = g.Linear(g.FindAny(module, {"k_proj", "key", "k"}), layer, x);
  const ValueId v = g.Linear(g.FindAny(module, {"v_proj", "value", "v"}), layer, x);
  return g.Linear(out, layer, Attend(g, module, layer, q, k, v, causal, bias));
}

ValueId AttentionHalf(GraphBuilder& g, ModuleId module, ModuleId norm, std::int32_t layer, ValueId x, bool causal) {
  const ValueId normed = g.Norm(norm, layer, x);
  const ValueId y = Projected(g, module, g.Find(module, "out_proj"), layer, normed, causal);
  return g.Residual(g.NameOf(module) + ".residual", module, layer, x, y);
}

ValueId Product(GraphBuilder& g, ModuleId convolution, ValueId image, std::int64_t rows) {
  const TensorId weight = g.OwnTensor(convolution, "weight");
  const Shape& shape = g.tensor(weight).shape;
  const ValueId out = g.Activation(g.NameOf(convolution) + ".out", rows, shape[0]);
  Op& op = g.Emit(
      OpKind::kConvolution, g.NameOf(convolution), convolution, kNoId, {image}, {out},
      2.0 * static_cast<double>(rows) * static_cast<double>(Elements(shape)) + static_cast<double>(rows * shape[0]));
  g.Use(op, weight);
  g.Use(op, g.OwnTensor(convolution, "bias"));
  return out;
}

ValueId Input(GraphBuilder& g, const char* name, std::int64_t rows, std::int64_t width) {
  return g.graph().input = g.Add({name, ValueKind::kInput, g.dtype(), rows, width});
}

ValueId T5FeedForward(GraphBuilder& g, ModuleId block, ModuleId part, std::int32_t layer, ValueId x) {
  const ValueId normed = g.Norm(g.Find(part, "layer_norm"), layer, x);
  const ValueId y = DenseMlp(g, g.Find(part, "DenseReluDense"), layer, normed);
  return g.Residual(g.NameOf(block) + ".mlp_residual", block, layer, x, y);
}

TensorId T5Bias(const GraphBuilder& g, ModuleId attention, TensorId before) {
  const TensorId own = g.OwnTensor(g.Find(attention, "relative_attention_bias"), "weight");
  return own == kNoId ? before : own;
}

ValueId T5Encoder(GraphBuilder& g, ValueId ids) {
  const ModuleId encoder = g.Find(0, "encoder");
  ValueId x = g.Embedding(g.Find(0, "shared"), ids);
  TensorId bias = kNoId;
  std::int32_t layer = 0;
  for (const ModuleId block : g.Children(g.Find(encoder, "block"))) {
    const std::vector<ModuleId>& parts = g.Children(g.Find(block, "layer"));
    const ModuleId attention = g.Find(parts[0], "SelfAttention");
    bias = T5Bias(g, attention, bias);
    const ValueId normed = g.Norm(g.Find(parts[0], "layer_norm"), layer, x);
    const ValueId a = Projected(g, attention, g.Find(attention, "o"), layer, normed, /*causal=*/false, bias);
    x = g.Residual(g.NameOf(block) + ".attention_residual", block, layer, x, a);
    x = T5FeedForward(g, block, parts[1], layer, x);
    ++layer;
  }
  return g.Norm(g.Find(encoder, "final_layer_norm"), kNoId, x);
}

}  // namespace stowage

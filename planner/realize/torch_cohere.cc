// transformers' modeling_cohere.py (5.23): attention and MLP read the same norm, interleaved rotation in fp32, a
// LayerNorm of its own, scaled logits.
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref CohereLayerNorm(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const std::int64_t width = t.WeightShape(module).back();
  if (width == 0) return x;
  const Spec rows = {x.spec().elements / width, DType::kF32};  // the mean of each head where there are heads
  Ref hidden_states = t.To(x, DType::kF32);
  Ref mean = t.eager.Op("mean.dim", rows, {&hidden_states});
  Ref centred = t.Binary("sub.Tensor", hidden_states, mean);
  Ref squares = t.Unary("pow.Tensor_Scalar", centred);
  centred.Drop();
  Ref variance = t.eager.Op("mean.dim", rows, {&squares});
  squares.Drop();
  centred = t.Binary("sub.Tensor", hidden_states, mean);
  Ref sum = t.Unary("add.Tensor", variance);
  Ref scale = t.Unary("rsqrt.default", sum);
  sum.Drop();
  Ref scaled = t.Mul(centred, scale);
  centred.Drop();
  scale.Drop();
  hidden_states = std::move(scaled);
  Ref product;
  if (t.dtype == DType::kF32) {
    product = t.eager.Op("mul.Tensor", hidden_states.spec(), {&hidden_states}, t.WeightsOf(module));
  } else {
    Ref weight =
        t.eager.Op("_to_copy.default", {{Elements(t.WeightShape(module))}, DType::kF32}, {}, t.WeightsOf(module));
    product = t.Mul(hidden_states, weight);
  }
  hidden_states = std::move(product);
  Ref out = t.To(hidden_states, t.dtype);
  hidden_states.Drop();
  mean.Drop();
  variance.Drop();
  return out;
}

Rotary CohereRotary(TorchWords& t, const Ref& position_ids, bool /*sliding*/) {
  return t.RotaryEmbedding("rotary_emb", position_ids, "inv_freq", RotaryForm::kInterleaved);
}

// rotate_half: stack([-x[1::2], x[::2]]).flatten
Ref RotateInterleaved(TorchWords& t, const Ref& x, const Rotary& rotary) {
  Ref left = t.Mul(x, rotary.cos);
  Ref negative = t.eager.Op("neg.default", {x.spec().elements / 2, x.spec().dtype}, {&x});
  Ref rotated = t.eager.Op("stack.default", x.spec(), {&negative, &x});
  negative.Drop();
  Ref right = t.Mul(rotated, rotary.sin);
  rotated.Drop();
  Ref out = t.Add(left, right);
  left.Drop();
  right.Drop();
  return out;
}

Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  if (t.FindChild("q_norm") != kNoId) {
    query = CohereLayerNorm(t, "q_norm", query);
    key = CohereLayerNorm(t, "k_norm", key);
  }
  {
    Ref q = t.To(query, DType::kF32);
    Ref k = t.To(key, DType::kF32);
    Ref q_embed = RotateInterleaved(t, q, in.rotary);
    Ref k_embed = RotateInterleaved(t, k, in.rotary);
    Ref q_out = t.To(q_embed, t.dtype);
    Ref k_out = t.To(k_embed, t.dtype);
    q.Drop();
    k.Drop();
    q_embed.Drop();
    k_embed.Drop();
    query = std::move(q_out);
    key = std::move(k_out);
  }
  return AttendAndProject(t, in, std::move(query), std::move(key), std::move(value));
}

Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = CohereLayerNorm(t, "input_layernorm", x);
  Ref attention = Attention(t, hidden_states, in);
  Ref mlp = GatedMlp(t, hidden_states);
  Ref sum = t.Add(residual, attention);
  Ref out = t.Add(sum, mlp);
  sum.Drop();
  hidden_states = std::move(out);
  residual.Drop();
  attention.Drop();
  mlp.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardCohere(TorchWords& t) {
  return ForwardDecoder(t, {.layer = Layer, .norm = CohereLayerNorm, .rotary = CohereRotary, .scaled_logits = true});
}

}  // namespace stowage::torch_eager

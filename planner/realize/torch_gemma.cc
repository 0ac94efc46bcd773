// transformers' modeling_gemma.py, modeling_gemma2.py and modeling_gemma3.py (5.23). What differs from Llama:
//  - embeddings are multiplied by a buffer, norms by 1 + weight in fp32;
//  - Gemma 2 has no sdpa (soft-capped scores): whole tables of scores, and a layer's attention weights live until the
//    layer returns, in a local named `_`;
//  - from Gemma 2 on each half is normed before and after;
//  - Gemma 3 rotates by two tables, one for each kind of layer.
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref GemmaNorm(TorchWords& t, std::string_view name, const Ref& x) {
  const ModuleId module = t.Child(name);
  ModuleScope self(t, module);
  const std::int64_t width = Elements(t.WeightShape(module));
  if (width == 0) return x;
  Ref wide = t.To(x, DType::kF32);
  Ref squares = t.Unary("pow.Tensor_Scalar", wide);
  Ref mean = t.eager.Op("mean.dim", {x.spec().elements / width, DType::kF32}, {&squares});
  squares.Drop();
  Ref sum = t.Unary("add.Tensor", mean);
  mean.Drop();
  Ref scale = t.Unary("rsqrt.default", sum);
  sum.Drop();
  Ref output = t.Mul(wide, scale);
  scale.Drop();
  wide.Drop();
  const Spec weight = {{width}, DType::kF32};
  Ref gain;
  if (t.dtype == DType::kF32) {
    gain = t.eager.Op("add.Tensor", weight, {}, t.WeightsOf(module));
  } else {
    Ref copy = t.eager.Op("_to_copy.default", weight, {}, t.WeightsOf(module));
    gain = t.Unary("add.Tensor", copy);
  }
  Ref scaled = t.Mul(output, gain);
  gain.Drop();
  output = std::move(scaled);
  Ref out = t.To(output, x.spec().dtype);
  output.Drop();
  return out;
}

// <X>TextScaledWordEmbedding
Ref ScaledEmbedding(TorchWords& t, const Ref& input_ids) {
  const ModuleId module = t.Child("embed_tokens");
  ModuleScope self(t, module);
  const std::int64_t elements = t.Rows() * t.WeightShape(module).back();
  Weights table = t.WeightsOf(module);
  table.bytes = SizeOf(t.dtype, elements);
  Ref rows = t.eager.Op("embedding.default", t.Of(elements), {&input_ids}, table);
  const TensorId scale = t.Own(module, "embed_scale");
  Weights buffer;
  if (scale != kNoId) buffer.tensors.push_back(scale);
  if (scale == kNoId || t.model.tensors[scale].dtype == t.dtype) {
    return t.eager.Op("mul.Tensor", rows.spec(), {&rows}, buffer);
  }
  Ref copy = t.eager.Op("_to_copy.default", t.Of(1), {}, buffer);
  Ref out = t.Mul(rows, copy);
  copy.Drop();
  rows.Drop();
  return out;
}

Rotary RotaryByType(TorchWords& t, const Ref& position_ids, bool sliding) {
  return t.RotaryEmbedding("rotary_emb", position_ids,
                           sliding ? "sliding_attention_inv_freq" : "full_attention_inv_freq");
}

struct Projected {
  Ref query, key, value;
};

Projected Project(TorchWords& t, const Ref& hidden_states, const LayerInput& in, bool norms) {
  Projected p;
  p.query = t.Linear("q_proj", hidden_states);
  p.key = t.Linear("k_proj", hidden_states);
  p.value = t.Linear("v_proj", hidden_states);
  if (norms) {
    p.query = GemmaNorm(t, "q_norm", p.query);
    p.key = GemmaNorm(t, "k_norm", p.key);
  }
  Ref q_embed = t.Rotate(p.query, in.rotary, t.s.head_dim);
  Ref k_embed = t.Rotate(p.key, in.rotary, t.s.head_dim);
  p.query = std::move(q_embed);
  p.key = std::move(k_embed);
  return p;
}

template <bool kNorms>
TorchWords::Attended SdpaAttention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Projected p = Project(t, hidden_states, in, kNorms);
  return {AttendAndProject(t, in, std::move(p.query), std::move(p.key), std::move(p.value)), {}};
}

TorchWords::Attended EagerAttention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Projected p = Project(t, hidden_states, in, /*norms=*/false);
  KeyValues kv = t.Append(in.index, p.key, p.value);
  p.key = kv.keys;
  p.value = kv.values;
  TorchWords::Attended attended = t.EagerAttention(p.query, kv, in.mask, t.heads());
  kv = {};
  attended.output = t.Linear("o_proj", attended.output);
  p.query.Drop();
  p.key.Drop();
  p.value.Drop();
  return attended;
}

Ref Layer1(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = GemmaNorm(t, "input_layernorm", x);
  hidden_states = SdpaAttention<false>(t, hidden_states, in).output;
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = GemmaNorm(t, "post_attention_layernorm", hidden_states);
  hidden_states = GatedMlp(t, hidden_states);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  return hidden_states;
}

template <TorchWords::Attended (*kAttention)(TorchWords& t, const Ref& hidden_states, const LayerInput& in)>
Ref Layer2(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = GemmaNorm(t, "input_layernorm", x);
  TorchWords::Attended attended = kAttention(t, hidden_states, in);
  hidden_states = std::move(attended.output);
  hidden_states = GemmaNorm(t, "post_attention_layernorm", hidden_states);
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = GemmaNorm(t, "pre_feedforward_layernorm", hidden_states);
  hidden_states = GatedMlp(t, hidden_states);
  hidden_states = GemmaNorm(t, "post_feedforward_layernorm", hidden_states);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  attended.weights.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardGemma(TorchWords& t) {
  return ForwardDecoder(t, {.layer = Layer1, .norm = GemmaNorm, .embed = ScaledEmbedding});
}

Status ForwardGemma2(TorchWords& t) {
  return ForwardDecoder(t, {.layer = Layer2<EagerAttention>,
                            .masks = MaskText::kByType,
                            .norm = GemmaNorm,
                            .embed = ScaledEmbedding,
                            .eager = true});
}

Status ForwardGemma3(TorchWords& t) {
  return ForwardDecoder(t, {.layer = Layer2<SdpaAttention<true>>,
                            .masks = MaskText::kByType,
                            .norm = GemmaNorm,
                            .embed = ScaledEmbedding,
                            .rotary = RotaryByType,
                            .rotary_by_type = true,
                            .own_frequencies = true});
}

}  // namespace stowage::torch_eager

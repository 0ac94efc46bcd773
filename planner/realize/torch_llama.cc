// transformers' modeling_llama.py (5.23). Facts of that text which decide the memory:
//  - RMSNorm works in fp32: in a 16-bit model each norm holds three fp32 activations at once.
//  - `residual` keeps the layer's input alive through the attention, and the caller's `hidden_states` keeps it through
//    the whole layer; `inputs_embeds` and the rotary tables live until the model returns.
//  - apply_rotary_pos_emb returns both results before q and k are assigned: the unrotated pair outlives the rotation.
//  - A DynamicCache grows by concatenation: while one layer's keys are appended, old and new keys coexist.
//  - Without a mask argument no causal mask is made (is_causal does it), and the fused kernel groups queries itself, so
//    keys and values are not repeated per query head.
//  - lm_head runs on every position: logits_to_keep is 0 unless generate() asks.
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_experts.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// q_norm and k_norm: none, over each head (Qwen 3), or over the whole projection (OLMo 2). The same text: the norm's
// weight has the width.
template <bool kNormed, NormForward kNorm = RmsNorm>
Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  if constexpr (kNormed) query = kNorm(t, "q_norm", query);
  Ref key = t.Linear("k_proj", hidden_states);
  if constexpr (kNormed) key = kNorm(t, "k_norm", key);
  Ref value = t.Linear("v_proj", hidden_states);
  if (t.model.forward.rotates.empty() || t.model.forward.rotates[in.index]) {
    Ref q_embed = t.Rotate(query, in.rotary, t.s.head_dim);
    Ref k_embed = t.Rotate(key, in.rotary, t.s.head_dim);
    Ref q_out = t.To(q_embed, t.dtype);  // OLMo 2
    Ref k_out = t.To(k_embed, t.dtype);
    q_embed.Drop();
    k_embed.Drop();
    query = std::move(q_out);
    key = std::move(k_out);
  }
  return AttendAndProject(t, in, std::move(query), std::move(key), std::move(value));
}

// residual + half(norm(x)), twice: Llama, Mistral, Qwen, SmolLM 3, Phi 3, StarCoder 2.
template <NormForward kNorm, LayerForward kAttention, Ref (*kMlp)(TorchWords& t, const Ref& x), bool kDropouts = false>
Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = kNorm(t, "input_layernorm", x);
  hidden_states = kAttention(t, hidden_states, in);
  if (kDropouts) hidden_states = t.Identity("resid_attn_dropout", hidden_states);
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = kNorm(t, "post_attention_layernorm", hidden_states);
  hidden_states = kMlp(t, hidden_states);
  if (kDropouts) hidden_states = t.Identity("resid_mlp_dropout", hidden_states);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  return hidden_states;
}

Ref Olmo2Norm(TorchWords& t, std::string_view name, const Ref& x) { return t.RmsNorm(name, x, /*wide=*/true); }

Rotary Olmo2Rotary(TorchWords& t, const Ref& position_ids, bool /*sliding*/) {
  return t.RotaryEmbedding("rotary_emb", position_ids, "inv_freq", RotaryForm::kWide);
}

// residual + norm(half(x)), twice.
Ref Olmo2Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = Attention<true, Olmo2Norm>(t, x, in);
  hidden_states = Olmo2Norm(t, "post_attention_layernorm", hidden_states);
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = GatedMlp(t, hidden_states);
  hidden_states = Olmo2Norm(t, "post_feedforward_layernorm", hidden_states);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  residual.Drop();
  return hidden_states;
}

Ref Starcoder2Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("c_fc", x);
  hidden_states = t.Activation("act", hidden_states);
  hidden_states = t.Linear("c_proj", hidden_states);
  return hidden_states;
}

// One projection, whose thirds are views; only the first dimensions of a head rotate.
Ref Phi3Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Ref qkv = t.Linear("qkv_proj", hidden_states);
  const std::int64_t dim = t.s.head_dim;
  Ref query = qkv.View({t.Rows() * t.s.heads * dim});
  Ref key = qkv.View({t.Rows() * t.s.kv_heads * dim});
  Ref value = key;
  const std::int64_t rotary_dim = in.rotary.cos.spec().elements.base / t.pass.tokens;
  const auto rotate = [&](const Ref& x) {
    const Ref turning = x.View(x.spec().elements / dim * rotary_dim);
    Ref turned = t.Rotate(turning, in.rotary, rotary_dim);
    return t.eager.Op("cat.default", x.spec(), {&turned, &x});
  };
  Ref q_embed = rotate(query);
  Ref k_embed = rotate(key);
  query = std::move(q_embed);
  key = std::move(k_embed);
  return AttendAndProject(t, in, std::move(query), std::move(key), std::move(value), std::move(qkv));
}

Ref Phi3Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref up_states = t.Linear("gate_up_proj", x);
  Ref gate = up_states.View(up_states.spec().elements / 2);
  up_states = gate;
  Ref act = t.Activation("activation_fn", gate);
  Ref product = t.Mul(up_states, act);
  act.Drop();
  up_states = std::move(product);
  Ref down = t.Linear("down_proj", up_states);
  up_states.Drop();
  gate.Drop();
  return down;
}

constexpr LayerForward kMixtralLayer = Layer<RmsNorm, Attention<false>, MixtralMoe>;
constexpr LayerForward kQwen3MoeLayer = Layer<RmsNorm, Attention<true>, Qwen3Moe>;
constexpr LayerForward kLlamaLayer = Layer<RmsNorm, Attention<false>, GatedMlp>;
constexpr LayerForward kQwen3Layer = Layer<RmsNorm, Attention<true>, GatedMlp>;
constexpr LayerForward kPhi3Layer = Layer<RmsNorm, Phi3Attention, Phi3Mlp, /*kDropouts=*/true>;
constexpr LayerForward kStarcoder2Layer = Layer<LayerNorm, Attention<false>, Starcoder2Mlp>;

}  // namespace

Status ForwardLlama(TorchWords& t) { return ForwardDecoder(t, {.layer = kLlamaLayer, .norm = RmsNorm}); }

Status ForwardMistral(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kLlamaLayer, .masks = MaskText::kChosen, .norm = RmsNorm});
}

Status ForwardMixtral(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckRouter(t));
  return ForwardDecoder(t, {.layer = kMixtralLayer, .masks = MaskText::kChosen, .norm = RmsNorm});
}

Status ForwardOlmo2(TorchWords& t) {
  return ForwardDecoder(t, {.layer = Olmo2Layer, .norm = Olmo2Norm, .rotary = Olmo2Rotary});
}

Status ForwardPhi3(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kPhi3Layer, .masks = MaskText::kChosen, .norm = RmsNorm});
}

Status ForwardQwen2(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kLlamaLayer, .masks = MaskText::kByType, .norm = RmsNorm});
}

Status ForwardQwen3(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kQwen3Layer, .masks = MaskText::kByType, .norm = RmsNorm});
}

Status ForwardQwen3Moe(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckRouter(t));
  return ForwardDecoder(t, {.layer = kQwen3MoeLayer, .masks = MaskText::kChosen, .norm = RmsNorm});
}

Status ForwardSmolLm3(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kLlamaLayer, .masks = MaskText::kByType, .norm = RmsNorm});
}

Status ForwardStarcoder2(TorchWords& t) {
  return ForwardDecoder(t, {.layer = kStarcoder2Layer, .masks = MaskText::kChosen, .norm = LayerNorm});
}

}  // namespace stowage::torch_eager

// transformers' modeling_llama.py (5.23). Facts of that text which decide the memory:
//  - RMSNorm works in fp32: in a 16-bit model each norm holds three fp32 activations at once.
//  - `residual` keeps the layer's input alive through the attention, and the caller's `hidden_states` keeps it through
//    the whole layer; `inputs_embeds` and the rotary tables live until the model returns.
//  - apply_rotary_pos_emb returns both results before q and k are assigned: the unrotated pair outlives the rotation.
//  - A DynamicCache grows by concatenation: while one layer's keys are appended, old and new keys coexist.
//  - Without a mask argument no causal mask is made (is_causal does it), and the fused kernel groups queries itself, so
//    keys and values are not repeated per query head.
//  - lm_head runs on every position: logits_to_keep is 0 unless generate() asks.
#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// What the attentions and layers of this file differ in.
struct LlamaText {
  bool head_norms = false;  // qwen3: q_norm and k_norm over each head
};

template <LlamaText kText>
Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  if constexpr (kText.head_norms) query = t.RmsNorm("q_norm", query);
  Ref key = t.Linear("k_proj", hidden_states);
  if constexpr (kText.head_norms) key = t.RmsNorm("k_norm", key);
  Ref value = t.Linear("v_proj", hidden_states);
  {
    Ref q_embed = t.Rotate(query, in.rotary, t.s.head_dim);
    Ref k_embed = t.Rotate(key, in.rotary, t.s.head_dim);
    query = std::move(q_embed);
    key = std::move(k_embed);
  }
  KeyValues kv = t.Append(in.index, key, value);
  key = kv.keys;
  value = kv.values;
  Ref attn_output = t.SdpaAttention(query, {key, value, {}}, in.mask, t.heads());
  kv = {};
  attn_output = t.Linear("o_proj", attn_output);
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

template <LlamaText kText>
Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref residual = x;
  Ref hidden_states = t.RmsNorm("input_layernorm", x);
  hidden_states = Attention<kText>(t, hidden_states, in);
  hidden_states = t.Add(residual, hidden_states);
  residual = hidden_states;
  hidden_states = t.RmsNorm("post_attention_layernorm", hidden_states);
  hidden_states = GatedMlp(t, hidden_states);
  hidden_states = t.Add(residual, hidden_states);
  residual.Drop();
  return hidden_states;
}

constexpr LlamaText kLlama;
constexpr LlamaText kQwen3 = {.head_norms = true};

}  // namespace

Status ForwardLlama(TorchWords& t) { return ForwardDecoder(t, {Layer<kLlama>, MaskText::kCausal, RmsNorm}); }
Status ForwardMistral(TorchWords& t) { return ForwardDecoder(t, {Layer<kLlama>, MaskText::kChosen, RmsNorm}); }
Status ForwardQwen2(TorchWords& t) { return ForwardDecoder(t, {Layer<kLlama>, MaskText::kByType, RmsNorm}); }
Status ForwardQwen3(TorchWords& t) { return ForwardDecoder(t, {Layer<kQwen3>, MaskText::kByType, RmsNorm}); }

}  // namespace stowage::torch_eager

// transformers' modeling_llama.py (5.23). Facts of that text which decide the memory:
//  - RMSNorm works in fp32: in a 16-bit model each norm holds three fp32 activations at once.
//  - `residual` keeps the layer's input alive through the attention, and the caller's `hidden_states` keeps it through
//    the whole layer; `inputs_embeds` and the rotary tables live until the model returns.
//  - apply_rotary_pos_emb returns both results before q and k are assigned: the unrotated pair outlives the rotation.
//  - A DynamicCache grows by concatenation: while one layer's keys are appended, old and new keys coexist.
//  - Without a mask argument no causal mask is made (is_causal does it), and the fused kernel groups queries itself, so
//    keys and values are not repeated per query head.
//  - lm_head runs on every position: logits_to_keep is 0 unless generate() asks.
#include <fmt/format.h>

#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref Attention(TorchWords& t, std::size_t layer, const Ref& hidden_states, const Rotary& rotary) {
  ModuleScope self(t, "self_attn");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  {
    Ref q_embed = t.Rotate(query, rotary);
    Ref k_embed = t.Rotate(key, rotary);
    query = std::move(q_embed);
    key = std::move(k_embed);
  }
  {
    const KeyValues kv = t.Append(layer, key, value);
    key = kv.keys;
    value = kv.values;
  }
  Ref attn_output = t.Attention(query, {key, value});
  attn_output = t.Linear("o_proj", attn_output);
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

Ref Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref gate = t.Linear("gate_proj", x);
  Ref act = t.Activation("act_fn", gate);
  gate.Drop();
  Ref up = t.Linear("up_proj", x);
  Ref product = t.Mul(act, up);
  act.Drop();
  up.Drop();
  Ref down = t.Linear("down_proj", product);
  product.Drop();
  return down;
}

Ref DecoderLayer(TorchWords& t, ModuleId module, std::size_t layer, const Ref& x, const Rotary& rotary) {
  ModuleScope self(t, module);
  Ref residual = x;
  Ref hidden_states = t.RmsNorm("input_layernorm", x);
  hidden_states = Attention(t, layer, hidden_states, rotary);
  hidden_states = t.Add(residual, hidden_states);
  residual = hidden_states;
  hidden_states = t.RmsNorm("post_attention_layernorm", hidden_states);
  hidden_states = Mlp(t, hidden_states);
  hidden_states = t.Add(residual, hidden_states);
  residual.Drop();
  return hidden_states;
}

// LlamaModel.forward, inside its module.
Ref Base(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref position_ids = t.PositionIds();
  Ref hidden_states = inputs_embeds;
  Rotary rotary = t.RotaryEmbedding("rotary_emb", position_ids);
  const std::vector<ModuleId> layers = t.Layers("layers");
  for (std::size_t i = 0; i < layers.size(); ++i) hidden_states = DecoderLayer(t, layers[i], i, hidden_states, rotary);
  hidden_states = t.RmsNorm("norm", hidden_states);
  position_ids.Drop();
  inputs_embeds.Drop();
  rotary.cos.Drop();
  rotary.sin.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardLlama(TorchWords& t) {
  const std::string& rope = t.model.rope.type;
  if (rope == "dynamic" || rope == "longrope") {
    return t.Refuse(fmt::format("rope '{}' recomputes its frequencies, which is not realized yet", rope));
  }
  t.AdoptCache(t.s.kv_heads * t.s.head_dim);
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    if (t.FindChild("embed_tokens") != kNoId) {  // LlamaModel
      out = Base(t, input_ids);
    } else {
      {
        ModuleScope body(t, "model");
        out = Base(t, input_ids);
      }
      Ref logits = t.Linear("lm_head", out);
      out = std::move(logits);
    }
  }
  input_ids.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCache();
  return OkStatus();
}

}  // namespace stowage::torch_eager

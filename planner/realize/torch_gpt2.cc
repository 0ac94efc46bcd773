// transformers' modeling_gpt2.py (5.23). The fused projection lives until the attention returns: the query is a view of
// it. The attention's output lives until the layer returns.
#include <utility>
#include <vector>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref Attention(TorchWords& t, const Ref& hidden_states, std::size_t layer, const Ref& mask) {
  ModuleScope self(t, "attn");
  Ref fused = t.Linear("c_attn", hidden_states);
  Ref query = fused.View(fused.spec().elements / 3);
  fused.Drop();
  Ref key = query;
  Ref value = query;
  KeyValues kv = t.Append(layer, key, value);
  key = std::move(kv.keys);
  value = std::move(kv.values);
  Ref attn_output = t.SdpaAttention(query, {key, value, {}}, mask, t.heads());
  attn_output = t.Linear("c_proj", attn_output);
  attn_output = t.Identity("resid_dropout", attn_output);
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

Ref Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("c_fc", x);
  hidden_states = t.Activation("act", hidden_states);
  hidden_states = t.Linear("c_proj", hidden_states);
  hidden_states = t.Identity("dropout", hidden_states);
  return hidden_states;
}

Ref Block(TorchWords& t, const Ref& x, std::size_t layer, const Ref& mask) {
  Ref residual = x;
  Ref hidden_states = t.LayerNorm("ln_1", x);
  Ref attn_output = Attention(t, hidden_states, layer, mask);
  Ref sum = t.Add(attn_output, residual);
  hidden_states = std::move(sum);
  residual = hidden_states;
  hidden_states = t.LayerNorm("ln_2", hidden_states);
  Ref feed_forward = Mlp(t, hidden_states);
  sum = t.Add(residual, feed_forward);
  hidden_states = std::move(sum);
  residual.Drop();
  attn_output.Drop();
  feed_forward.Drop();
  return hidden_states;
}

// GPT2Model.forward
Ref Body(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("wte", input_ids);
  Ref position_ids = t.PositionIds();
  Ref position_embeds = t.Embedding("wpe", position_ids);
  Ref hidden_states = t.Add(inputs_embeds, position_embeds);
  Ref causal_mask = t.CausalMask();
  hidden_states = t.Identity("drop", hidden_states);
  const std::vector<ModuleId> blocks = t.Layers("h");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Ref output;
    {
      ModuleScope block(t, blocks[i]);
      output = Block(t, hidden_states, i, causal_mask);
    }
    hidden_states = std::move(output);
  }
  hidden_states = t.LayerNorm("ln_f", hidden_states);
  position_ids.Drop();
  inputs_embeds.Drop();
  position_embeds.Drop();
  causal_mask.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardGpt2(TorchWords& t) {
  for (const Module& module : t.model.modules) {
    if (module.name.ends_with("crossattention")) return t.Refuse("cross-attention is not realized yet");
  }
  return RunCausal(t, Body, {.body = "transformer", .embed = "wte"}, t.s.heads * t.s.head_dim);
}

}  // namespace stowage::torch_eager

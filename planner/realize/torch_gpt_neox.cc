// transformers' modeling_gpt_neox.py (5.23): one fused projection, whose parts are views; the first dimensions of a head
// rotate and are put back beside the others; attention and MLP read the same hidden states (use_parallel_residual).
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref Attention(TorchWords& t, const Ref& hidden_states, const LayerInput& in) {
  ModuleScope self(t, "attention");
  Ref qkv = t.Linear("query_key_value", hidden_states);
  const std::int64_t dim = t.s.head_dim;
  const std::int64_t rotary_dim = in.rotary.cos.spec().elements.base / t.pass.tokens;
  Ref query = qkv.View(qkv.spec().elements / 3);
  Ref key = query;
  Ref value = query;
  Ref turning = query.View(query.spec().elements / dim * rotary_dim);
  Ref q_embed = t.Rotate(turning, in.rotary, rotary_dim);
  Ref k_embed = t.Rotate(turning, in.rotary, rotary_dim);
  turning.Drop();
  Ref whole = t.eager.Op("cat.default", query.spec(), {&q_embed, &query});
  q_embed = std::move(whole);
  whole = t.eager.Op("cat.default", key.spec(), {&k_embed, &key});
  k_embed = std::move(whole);
  query = std::move(q_embed);
  key = std::move(k_embed);
  return AttendAndProject(t, in, std::move(query), std::move(key), std::move(value), std::move(qkv), "dense");
}

Ref Mlp(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("dense_h_to_4h", x);
  hidden_states = t.Activation("act", hidden_states);
  hidden_states = t.Linear("dense_4h_to_h", hidden_states);
  return hidden_states;
}

Ref Layer(TorchWords& t, const Ref& x, const LayerInput& in) {
  Ref normed = t.LayerNorm("input_layernorm", x);
  Ref attn_output = Attention(t, normed, in);
  normed.Drop();
  attn_output = t.Identity("post_attention_dropout", attn_output);
  if (!t.model.forward.parallel) {
    Ref sum = t.Add(attn_output, x);
    attn_output = std::move(sum);
  }
  normed = t.LayerNorm("post_attention_layernorm", t.model.forward.parallel ? x : attn_output);
  Ref mlp_output = Mlp(t, normed);
  normed.Drop();
  mlp_output = t.Identity("post_mlp_dropout", mlp_output);
  Ref hidden_states = t.Add(mlp_output, attn_output);
  if (t.model.forward.parallel) {
    Ref sum = t.Add(hidden_states, x);
    hidden_states = std::move(sum);
  }
  attn_output.Drop();
  mlp_output.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardGptNeoX(TorchWords& t) {
  return ForwardDecoder(
      t, {.layer = Layer,
          .norm = LayerNorm,
          .names = {.body = "gpt_neox", .embed = "embed_in", .norm = "final_layer_norm", .dropout = "emb_dropout"}});
}

}  // namespace stowage::torch_eager

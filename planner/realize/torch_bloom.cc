// transformers' modeling_bloom.py (5.23): eager attention with alibi, whose scores are a baddbmm on top of the biases; the
// fused projection lives until the attention returns, since the query is a view of it (or a copy, if there are several
// sequences). A block returns its attention's probabilities, which the model holds until the next block is done.
#include <utility>
#include <vector>

#include "planner/realize/torch_alibi.h"
#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

struct Attended {
  Ref output, weights;
};

struct Biases {
  const Ref& alibi;
  const Ref& mask;
};

// reshape(batch * heads, -1, head_dim) of what lies token by token.
Ref Folded(TorchWords& t, const Ref& x) {
  return t.pass.batch > 1 && t.pass.tokens > 1 && t.s.heads > 1 ? t.Unary("clone.default", x) : x;
}

Ref DropoutAdd(TorchWords& t, Ref x, const Ref& residual) {
  Ref out = t.Add(residual, x);
  x.Drop();
  return out;
}

Attended Attention(TorchWords& t, const Ref& hidden_states, const Ref& residual, std::size_t layer, const Biases& in) {
  ModuleScope self(t, "self_attention");
  Ref fused_qkv = t.Linear("query_key_value", hidden_states);
  Ref query = fused_qkv.View(fused_qkv.spec().elements / 3);
  Ref key = query;
  Ref value = query;
  KeyValues kv = t.Append(layer, key, value);
  key = std::move(kv.keys);
  value = std::move(kv.values);
  query = Folded(t, query);
  if (!t.pass.keeps_cache) {  // a cache lies head by head
    key = Folded(t, key);
    value = Folded(t, value);
  }
  const Spec scores = {key.spec().elements / t.s.head_dim * t.pass.tokens, t.dtype};
  const double dim = 2.0 * static_cast<double>(t.s.head_dim);
  const AffineFlops flops = {dim * static_cast<double>(scores.elements.base),
                             dim * static_cast<double>(scores.elements.step)};
  Ref attention_scores = t.eager.Op("baddbmm.default", scores, {&in.alibi, &query, &key}, {}, flops);
  Ref attn_weights = t.Add(attention_scores, in.mask);
  Ref soft = t.Softmax(attn_weights);
  Attended out;
  out.weights = t.To(soft, t.dtype);
  soft.Drop();
  out.weights = t.Identity("attention_dropout", out.weights);
  Ref context_layer = t.eager.Op("bmm.default", query.spec(), {&out.weights, &value}, {}, flops);
  if (t.pass.tokens > 1 && t.s.heads > 1) context_layer = t.Unary("clone.default", context_layer);
  out.output = t.Linear("dense", context_layer);
  out.output = DropoutAdd(t, std::move(out.output), residual);
  for (Ref* local : {&fused_qkv, &query, &key, &value, &attention_scores, &attn_weights, &context_layer}) local->Drop();
  return out;
}

Ref Mlp(TorchWords& t, const Ref& x, const Ref& residual) {
  ModuleScope self(t, "mlp");
  Ref hidden_states = t.Linear("dense_h_to_4h", x);
  hidden_states = t.Activation("gelu_impl", hidden_states);
  Ref intermediate_output = t.Linear("dense_4h_to_h", hidden_states);
  Ref output = t.Add(residual, intermediate_output);
  hidden_states.Drop();
  intermediate_output.Drop();
  return output;
}

Attended Block(TorchWords& t, const Ref& hidden_states, std::size_t layer, const Biases& in) {
  const bool normed = t.model.forward.normed_residual;
  Ref layernorm_output = t.LayerNorm("input_layernorm", hidden_states);
  Ref residual = normed ? layernorm_output : hidden_states;
  Attended attended = Attention(t, layernorm_output, residual, layer, in);
  layernorm_output = t.LayerNorm("post_attention_layernorm", attended.output);
  residual = normed ? layernorm_output : attended.output;
  Ref output = Mlp(t, layernorm_output, residual);
  layernorm_output.Drop();
  residual.Drop();
  attended.output.Drop();
  return {std::move(output), std::move(attended.weights)};
}

// The biases of a pass without an attention mask, for every sequence.
Ref Alibi(TorchWords& t, const Ref& slopes) {
  Ref range = t.eager.Op("arange.default", {t.KeyCount(), DType::kI64}, {});
  Ref one = t.eager.Op("mul.Tensor", {t.KeyCount() * t.s.heads, DType::kF32}, {&slopes, &range});
  range.Drop();
  Ref all = t.eager.Op("repeat.default", {one.spec().elements * t.pass.batch, DType::kF32}, {&one});
  Ref alibi = t.To(all, t.dtype);
  all.Drop();
  one.Drop();
  return alibi;
}

// BloomModel.forward
Ref Body(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("word_embeddings", input_ids);
  Ref seq_length_with_past;  // a tensor where the count of positions is one
  if (t.pass.reserved > 0 && t.pass.past > 0) {
    seq_length_with_past = t.eager.Op("add.Tensor", {{1}, DType::kI64}, {&t.cache[0].scalar});
  }
  Ref hidden_states = t.LayerNorm("word_embeddings_layernorm", inputs_embeds);
  AlibiSlopes made = MakeAlibiSlopes(t);
  for (Ref* local : {&made.base, &made.powers, &made.extra_base, &made.extra_powers}) local->Drop();
  Ref alibi = Alibi(t, made.slopes);
  Ref causal_mask = t.EagerMask(0, t.KeyCount());
  const std::vector<ModuleId> blocks = t.Layers("h");
  Attended outputs;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Attended output;
    {
      ModuleScope block(t, blocks[i]);
      output = Block(t, hidden_states, i, {alibi, causal_mask});
    }
    outputs.weights = std::move(output.weights);
    outputs.output = std::move(output.output);
    hidden_states = outputs.output;
  }
  hidden_states = t.LayerNorm("ln_f", hidden_states);
  for (Ref* local :
       {&inputs_embeds, &seq_length_with_past, &made.slopes, &alibi, &causal_mask, &outputs.weights, &outputs.output}) {
    local->Drop();
  }
  return hidden_states;
}

}  // namespace

Status ForwardBloom(TorchWords& t) {
  return RunCausal(t, Body, {.body = "transformer", .embed = "word_embeddings"}, t.s.heads * t.s.head_dim);
}

}  // namespace stowage::torch_eager

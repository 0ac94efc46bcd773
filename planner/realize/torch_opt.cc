// transformers' modeling_opt.py (5.23). Positions come of a mask of ones in fp32; OPTForCausalLM calls model.decoder
// past its model; norms come before (or, opt-350m, after) each half.
#include <utility>

#include "planner/realize/torch_decoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref Attention(TorchWords& t, const Ref& hidden_states, std::size_t layer, const Ref& mask) {
  ModuleScope self(t, "self_attn");
  Ref projected = t.Linear("q_proj", hidden_states);
  Ref query = t.Unary("mul.Tensor", projected);
  projected.Drop();
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  const Rotary no_rotary;
  return AttendAndProject(t, {layer, no_rotary, mask}, std::move(query), std::move(key), std::move(value), {},
                          "out_proj");
}

Ref Layer(TorchWords& t, const Ref& x, std::size_t layer, const Ref& mask) {
  const bool norm_first = t.model.forward.norm_first;
  Ref residual = x;
  Ref hidden_states = norm_first ? t.LayerNorm("self_attn_layer_norm", x) : x;
  hidden_states = Attention(t, hidden_states, layer, mask);
  Ref sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  if (!norm_first) hidden_states = t.LayerNorm("self_attn_layer_norm", hidden_states);
  residual = hidden_states;
  if (norm_first) hidden_states = t.LayerNorm("final_layer_norm", hidden_states);
  hidden_states = t.Linear("fc1", hidden_states);
  hidden_states = t.Activation("activation_fn", hidden_states);
  hidden_states = t.Linear("fc2", hidden_states);
  sum = t.Add(residual, hidden_states);
  hidden_states = std::move(sum);
  if (!norm_first) hidden_states = t.LayerNorm("final_layer_norm", hidden_states);
  residual.Drop();
  return hidden_states;
}

// OPTLearnedPositionalEmbedding.forward with position_ids: [batch, tokens] of them, moved by two.
Ref PositionEmbedding(TorchWords& t, const Ref& position_ids) {
  const ModuleId module = t.Child("embed_positions");
  ModuleScope self(t, module);
  Ref moved = t.eager.Op("add.Tensor", {{t.Rows()}, DType::kI64}, {&position_ids});
  const std::int64_t elements = t.Rows() * t.WeightShape(module).back();
  Weights table = t.WeightsOf(module);
  table.bytes = SizeOf(t.dtype, elements);
  return t.eager.Op("embedding.default", t.Of(elements), {&moved}, table);
}

// OPTDecoder.forward
Ref Body(TorchWords& t, const Ref& input_ids) {
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref attention_mask = t.eager.Op("ones.default", {t.SeenCount() * t.pass.batch, DType::kF32}, {});
  Ref position_ids = t.Unary("cumsum.default", attention_mask);
  Ref product = t.Mul(position_ids, attention_mask);
  Ref less = t.Unary("sub.Tensor", product);
  product.Drop();
  Ref whole = t.To(less, DType::kI64);
  less.Drop();
  position_ids = std::move(whole);
  t.eager.SetView(position_ids, {{t.Rows()}, DType::kI64});
  Ref causal_mask = t.CausalMask();
  Ref pos_embeds = PositionEmbedding(t, position_ids);
  if (t.FindChild("project_in") != kNoId) inputs_embeds = t.Linear("project_in", inputs_embeds);
  Ref hidden_states = t.Add(inputs_embeds, pos_embeds);
  const std::vector<ModuleId> layers = t.Layers("layers");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Ref output;
    {
      ModuleScope layer(t, layers[i]);
      output = Layer(t, hidden_states, i, causal_mask);
    }
    hidden_states = std::move(output);
  }
  if (t.FindChild("final_layer_norm") != kNoId) hidden_states = t.LayerNorm("final_layer_norm", hidden_states);
  if (t.FindChild("project_out") != kNoId) hidden_states = t.Linear("project_out", hidden_states);
  inputs_embeds.Drop();
  position_ids.Drop();
  attention_mask.Drop();
  causal_mask.Drop();
  pos_embeds.Drop();
  return hidden_states;
}

}  // namespace

Status ForwardOpt(TorchWords& t) {
  return RunCausal(t, Body, {.body = "model.decoder", .embed = "decoder"}, t.s.heads * t.s.head_dim);
}

}  // namespace stowage::torch_eager

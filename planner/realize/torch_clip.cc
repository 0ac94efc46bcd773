// transformers' modeling_clip.py (5.23): CLIPTextModel, alone or with its projection. Causal by the kernel's flag. The
// pooled state is gathered where the end of the text is: for eos_token_id 2, the value that old files have, where the
// largest id is.
#include <fmt/format.h>

#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

Ref Embeddings(TorchWords& t, const Ref& input_ids) {
  ModuleScope self(t, "embeddings");
  Ref inputs_embeds = t.Embedding("token_embedding", input_ids);
  const Ref position_ids = input_ids.View({t.pass.tokens});  // in truth a view of a buffer
  Ref position_embeddings = t.Embedding("position_embedding", position_ids);
  Ref embeddings = t.Add(inputs_embeds, position_embeddings);
  inputs_embeds.Drop();
  position_embeddings.Drop();
  return embeddings;
}

Ref Attention(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "self_attn");
  Ref queries = t.Linear("q_proj", hidden_states);
  Ref keys = t.Linear("k_proj", hidden_states);
  Ref values = t.Linear("v_proj", hidden_states);
  const AttentionSize size = {t.s.heads, t.pass.tokens, {t.pass.tokens}, /*causal=*/true};
  Ref attn_output = FusedAttention(t, queries, keys, values, {}, size);
  Ref projected = t.Linear("out_proj", attn_output);
  attn_output = std::move(projected);
  queries.Drop();
  keys.Drop();
  values.Drop();
  return attn_output;
}

Ref Layer(TorchWords& t, const Ref& x) {
  Ref residual = x;
  Ref hidden_states = t.LayerNorm("layer_norm1", x);
  Ref next = Attention(t, hidden_states);
  hidden_states = std::move(next);
  next = t.Add(residual, hidden_states);
  hidden_states = std::move(next);
  residual = hidden_states;
  next = t.LayerNorm("layer_norm2", hidden_states);
  hidden_states = std::move(next);
  next = PlainMlp(t, hidden_states);
  hidden_states = std::move(next);
  next = t.Add(residual, hidden_states);
  hidden_states = std::move(next);
  residual.Drop();
  return hidden_states;
}

Ref Encoder(TorchWords& t, const Ref& inputs_embeds) {
  ModuleScope self(t, "encoder");
  Ref hidden_states = inputs_embeds;
  for (const ModuleId module : Members(t, "layers")) {
    Ref layer_output;
    {
      ModuleScope layer(t, module);
      layer_output = Layer(t, hidden_states);
    }
    hidden_states = std::move(layer_output);
  }
  return hidden_states;
}

// last_hidden_state[torch.arange(batch), <where each text ends>]
Ref Pool(TorchWords& t, const Ref& last_hidden_state, const Ref& input_ids) {
  const Spec rows = {{t.pass.batch}, DType::kI64};
  Ref range = t.eager.Op("arange.default", rows, {});
  Ref found = t.To(input_ids, DType::kI32);
  if (t.model.forward.eos_token != 2) {
    Ref equal = t.eager.Op("eq.Scalar", {found.spec().elements, DType::kBool}, {&found});
    found = std::move(equal);
    Ref narrow = t.To(found, DType::kI32);
    found = std::move(narrow);
  }
  Ref where = t.eager.Op("argmax.default", rows, {&found});
  found.Drop();
  const Ref picked = last_hidden_state.View({t.pass.batch * t.s.hidden});
  Ref pooled_output = t.eager.Op("index.Tensor", picked.spec(), {&picked, &range, &where});
  where.Drop();  // a tuple lets go of its last item first
  range.Drop();
  return pooled_output;
}

struct Outputs {
  Ref last_hidden_state, pooled_output;
};

// CLIPTextModel.forward, inside its module.
Outputs TextModel(TorchWords& t, const Ref& input_ids) {
  Ref hidden_states = Embeddings(t, input_ids);
  Ref encoded = Encoder(t, hidden_states);
  Outputs out;
  out.last_hidden_state = t.LayerNorm("final_layer_norm", encoded);
  out.pooled_output = Pool(t, out.last_hidden_state, input_ids);
  hidden_states.Drop();
  encoded.Drop();
  return out;
}

}  // namespace

Status ForwardClipText(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckIsPrefill(t));
  if (t.pass.tokens > t.s.max_positions) {
    return t.Refuse(fmt::format("{} tokens, its table has {} positions", t.pass.tokens, t.s.max_positions));
  }
  Ref input_ids = t.TokenIds();
  Outputs out;
  const bool projects = t.model.class_name == "CLIPTextModelWithProjection";
  {
    ModuleScope root(t, 0);
    if (!projects) {
      out = TextModel(t, input_ids);
    } else {
      {
        ModuleScope text_model(t, "text_model");
        out = TextModel(t, input_ids);
      }
      Ref text_embeds = t.Linear("text_projection", out.pooled_output);
      out.pooled_output = std::move(text_embeds);
    }
  }
  input_ids.Drop();
  if (projects) std::swap(out.last_hidden_state, out.pooled_output);  // text_embeds is the first of the output
  t.KeepOutput(std::move(out.last_hidden_state));
  t.KeepOutput(std::move(out.pooled_output));
  return OkStatus();
}

}  // namespace stowage::torch_eager

// transformers' modeling_bert.py (5.23): BertModel as an encoder, with its pooler. No mask is given, so none is made.
#include <fmt/format.h>

#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// Ids that every sequence shares, gathered from a buffer: [1, tokens].
Ref TokenTypeIds(TorchWords& t) {
  Weights buffers;
  for (const std::string_view name : {"token_type_ids", "position_ids"}) {
    const TensorId id = t.Own(t.eager.Current(), name);
    if (id == kNoId) continue;
    buffers.tensors.push_back(id);
    buffers.bytes += SizeOf(DType::kI64, t.pass.tokens);
  }
  return t.eager.Op("gather.default", {{t.pass.tokens}, DType::kI64}, {}, buffers);
}

Ref Embeddings(TorchWords& t, const Ref& input_ids) {
  ModuleScope self(t, "embeddings");
  Ref token_type_ids = TokenTypeIds(t);
  Ref inputs_embeds = t.Embedding("word_embeddings", input_ids);
  Ref expanded = token_type_ids.View({t.Rows()});
  Ref token_type_embeddings = t.Embedding("token_type_embeddings", expanded);
  Ref embeddings = t.Add(inputs_embeds, token_type_embeddings);
  // The position ids are a view of a buffer, as long as the gathered ids.
  Ref position_embeddings = t.Embedding("position_embeddings", token_type_ids);
  Ref next = t.Add(embeddings, position_embeddings);
  embeddings = std::move(next);
  next = t.LayerNorm("LayerNorm", embeddings);
  embeddings = std::move(next);
  embeddings = t.Identity("dropout", embeddings);
  for (Ref* local : {&expanded, &inputs_embeds, &token_type_ids, &token_type_embeddings, &position_embeddings}) {
    local->Drop();
  }
  return embeddings;
}

Ref SelfAttention(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "self");
  Ref query = t.Linear("query", hidden_states);
  Ref key = t.Linear("key", hidden_states);
  Ref value = t.Linear("value", hidden_states);
  Ref attn_output = FusedAttention(t, query, key, value, {}, {t.s.heads, t.pass.tokens, {t.pass.tokens}});
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

// BertSelfOutput, BertOutput: LayerNorm(dropout(dense(x)) + input).
Ref Output(TorchWords& t, const Ref& x, const Ref& input) {
  ModuleScope self(t, "output");
  Ref hidden_states = t.Linear("dense", x);
  hidden_states = t.Identity("dropout", hidden_states);
  Ref sum = t.Add(hidden_states, input);
  Ref out = t.LayerNorm("LayerNorm", sum);
  sum.Drop();
  hidden_states = std::move(out);
  return hidden_states;
}

Ref Attention(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "attention");
  Ref attention_output = SelfAttention(t, hidden_states);
  Ref out = Output(t, attention_output, hidden_states);
  attention_output = std::move(out);
  return attention_output;
}

Ref Intermediate(TorchWords& t, const Ref& x) {
  ModuleScope self(t, "intermediate");
  Ref hidden_states = t.Linear("dense", x);
  Ref act = t.Activation("intermediate_act_fn", hidden_states);
  hidden_states = std::move(act);
  return hidden_states;
}

Ref Layer(TorchWords& t, const Ref& hidden_states) {
  Ref attention_output = Attention(t, hidden_states);
  Ref intermediate_output = Intermediate(t, attention_output);
  Ref layer_output = Output(t, intermediate_output, attention_output);
  intermediate_output.Drop();
  attention_output.Drop();
  return layer_output;
}

Ref Encoder(TorchWords& t, const Ref& embedding_output) {
  ModuleScope self(t, "encoder");
  Ref hidden_states = embedding_output;
  for (const ModuleId module : Members(t, "layer")) {
    Ref layer_output;
    {
      ModuleScope layer(t, module);
      layer_output = Layer(t, hidden_states);
    }
    hidden_states = std::move(layer_output);
  }
  return hidden_states;
}

// Of the first token of each sequence.
Ref Pooler(TorchWords& t, const Ref& hidden_states) {
  ModuleScope self(t, "pooler");
  const Ref first_token = hidden_states.View({t.pass.batch * t.s.hidden});
  Ref pooled_output = t.Linear("dense", first_token);
  Ref act = t.Activation("activation", pooled_output);
  pooled_output = std::move(act);
  return pooled_output;
}

}  // namespace

Status ForwardBert(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckIsPrefill(t));
  if (t.pass.tokens > t.s.max_positions) {
    return t.Refuse(fmt::format("{} tokens, its table has {} positions", t.pass.tokens, t.s.max_positions));
  }
  Ref input_ids = t.TokenIds();
  Ref sequence_output, pooled_output;
  {
    ModuleScope root(t, 0);
    Ref embedding_output = Embeddings(t, input_ids);
    sequence_output = Encoder(t, embedding_output);
    pooled_output = Pooler(t, sequence_output);
    embedding_output.Drop();
  }
  input_ids.Drop();
  t.KeepOutput(std::move(sequence_output));
  t.KeepOutput(std::move(pooled_output));
  return OkStatus();
}

}  // namespace stowage::torch_eager

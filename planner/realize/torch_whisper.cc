// transformers' modeling_whisper.py (5.23). A prefill runs the encoder on 2 max_source_positions frames and the decoder on
// the pass's tokens; a decode pass runs the decoder alone, over the caches of both attentions, and is given the
// encoder's output, which it does not read. Facts of that text which decide the memory:
//  - Queries, keys and values are copied to be contiguous by head, where they are not already.
//  - The keys and values of cross attention are made of the encoder's output once, in the first pass.
#include <fmt/format.h>

#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

struct Whisper {
  CrossCaches caches;
  std::int64_t frames = 0;  // of the encoder's output
};

// x.view(batch, -1, heads, dim).transpose(1, 2).contiguous(); x goes.
Ref ByHead(TorchWords& t, Ref x, std::int64_t heads, std::int64_t positions) {
  return heads == 1 || positions == 1 ? x : t.Unary("clone.default", x);
}

Ref Queries(TorchWords& t, const Ref& hidden_states, std::int64_t heads, std::int64_t positions) {
  Ref projected = t.Linear("q_proj", hidden_states);
  Ref scaled = t.Unary("mul.Tensor", projected);
  projected.Drop();
  return ByHead(t, std::move(scaled), heads, positions);
}

KeyValues Projections(TorchWords& t, const Ref& states, std::int64_t heads, std::int64_t positions) {
  KeyValues out;
  out.keys = ByHead(t, t.Linear("k_proj", states), heads, positions);
  out.values = ByHead(t, t.Linear("v_proj", states), heads, positions);
  return out;
}

Ref AttendAndProject(TorchWords& t, Ref query, KeyValues kv, AttentionSize size) {
  Ref attn_output = FusedAttention(t, query, kv.keys, kv.values, {}, size);
  Ref projected = t.Linear("out_proj", attn_output);
  attn_output = std::move(projected);
  query.Drop();
  kv.keys.Drop();
  kv.values.Drop();
  return attn_output;
}

Ref EncoderAttention(TorchWords& t, const Ref& hidden_states, std::int64_t frames) {
  ModuleScope self(t, "self_attn");
  const std::int64_t heads = t.model.forward.encoder_heads;
  Ref query = Queries(t, hidden_states, heads, frames);
  KeyValues kv = Projections(t, hidden_states, heads, frames);
  return AttendAndProject(t, std::move(query), std::move(kv), {heads, frames, {frames}});
}

Ref DecoderAttention(TorchWords& t, const Ref& hidden_states, std::size_t layer) {
  ModuleScope self(t, "self_attn");
  Ref query = Queries(t, hidden_states, t.s.heads, t.pass.tokens);
  KeyValues kv = Projections(t, hidden_states, t.s.heads, t.pass.tokens);
  KeyValues cached = t.Append(layer, kv.keys, kv.values);
  kv.keys = std::move(cached.keys);
  kv.values = std::move(cached.values);
  const AttentionSize size = {t.s.heads, t.pass.tokens, t.KeyCount(), /*causal=*/t.pass.tokens > 1};
  return AttendAndProject(t, std::move(query), std::move(kv), size);
}

Ref CrossAttention(TorchWords& t, const Ref& hidden_states, Whisper& w, std::size_t layer) {
  ModuleScope self(t, "encoder_attn");
  Ref query = Queries(t, hidden_states, t.s.heads, t.pass.tokens);
  KeyValues kv;
  KeyValues& cross = w.caches.layers[layer];
  if (t.pass.past > 0) {
    kv = cross;
  } else {
    kv = Projections(t, w.caches.encoded, t.s.heads, w.frames);
    KeyValues cached = t.AppendCrossed(cross, kv.keys, kv.values);
    kv.keys = std::move(cached.keys);
    kv.values = std::move(cached.values);
  }
  return AttendAndProject(t, std::move(query), std::move(kv), {t.s.heads, t.pass.tokens, {w.frames}});
}

// hidden_states = f(hidden_states)
void Assign(Ref& hidden_states, Ref next) { hidden_states = std::move(next); }

// residual + fc2(activation_fn(fc1(final_layer_norm(x)))); the layer's text from there on.
void FeedForward(TorchWords& t, Ref& residual, Ref& hidden_states) {
  residual = hidden_states;
  Assign(hidden_states, t.LayerNorm("final_layer_norm", hidden_states));
  {
    Ref inner = t.Linear("fc1", hidden_states);
    Ref act = t.Activation("activation_fn", inner);
    inner.Drop();
    hidden_states = std::move(act);
  }
  Assign(hidden_states, t.Linear("fc2", hidden_states));
  Assign(hidden_states, t.Add(residual, hidden_states));
}

Ref EncoderLayer(TorchWords& t, const Ref& x, std::int64_t frames) {
  Ref residual = x;
  Ref hidden_states = t.LayerNorm("self_attn_layer_norm", x);
  Assign(hidden_states, EncoderAttention(t, hidden_states, frames));
  Assign(hidden_states, t.Add(residual, hidden_states));
  FeedForward(t, residual, hidden_states);
  if (t.dtype == DType::kF16) Assign(hidden_states, t.Unary("clamp.default", hidden_states));
  residual.Drop();
  return hidden_states;
}

Ref DecoderLayer(TorchWords& t, const Ref& x, Whisper& w, std::size_t layer) {
  Ref residual = x;
  Ref hidden_states = t.LayerNorm("self_attn_layer_norm", x);
  Assign(hidden_states, DecoderAttention(t, hidden_states, layer));
  Assign(hidden_states, t.Add(residual, hidden_states));
  residual = hidden_states;
  Assign(hidden_states, t.LayerNorm("encoder_attn_layer_norm", hidden_states));
  Assign(hidden_states, CrossAttention(t, hidden_states, w, layer));
  Assign(hidden_states, t.Add(residual, hidden_states));
  FeedForward(t, residual, hidden_states);
  residual.Drop();
  return hidden_states;
}

// Half as many positions as frames of the input.
Ref Encoder(TorchWords& t, const Ref& features, std::int64_t positions) {
  ModuleScope self(t, "encoder");
  Ref inputs_embeds;
  for (const auto& [conv, length] : {std::pair("conv1", 2 * positions), std::pair("conv2", positions)}) {
    Ref made = Convolution(t, conv, inputs_embeds.id() == kNoId ? features : inputs_embeds, length);
    Ref act = t.Unary("gelu.default", made);
    made.Drop();
    inputs_embeds = std::move(act);
  }
  Ref all_positions = t.eager.Op("arange.default", {{positions}, DType::kI64}, {});
  Ref hidden_states;
  {
    Ref table = t.Embedding("embed_positions", all_positions);
    hidden_states = t.Add(inputs_embeds, table);
  }
  for (const ModuleId module : Members(t, "layers")) {
    Ref layer_output;
    {
      ModuleScope layer(t, module);
      layer_output = EncoderLayer(t, hidden_states, positions);
    }
    hidden_states = std::move(layer_output);
  }
  Assign(hidden_states, t.LayerNorm("layer_norm", hidden_states));
  inputs_embeds.Drop();
  all_positions.Drop();
  return hidden_states;
}

Ref Decoder(TorchWords& t, const Ref& input_ids, Whisper& w) {
  ModuleScope self(t, "decoder");
  Ref inputs_embeds = t.Embedding("embed_tokens", input_ids);
  Ref position_ids = t.PositionIds();
  Assign(position_ids, t.eager.Op("repeat.default", {{t.Rows()}, DType::kI64}, {&position_ids}));
  Ref positions;
  {
    ModuleScope embed_positions(t, "embed_positions");
    Weights rows = t.WeightsOf(t.eager.Current());
    rows.bytes = SizeOf(t.dtype, t.Rows() * t.s.hidden);
    positions = t.eager.Op("index.Tensor", inputs_embeds.spec(), {&position_ids}, rows);
  }
  Ref hidden_states = t.Add(inputs_embeds, positions);
  const std::vector<ModuleId> layers = t.Layers("layers");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Ref layer_output;
    {
      ModuleScope layer(t, layers[i]);
      layer_output = DecoderLayer(t, hidden_states, w, i);
    }
    hidden_states = std::move(layer_output);
  }
  Assign(hidden_states, t.LayerNorm("layer_norm", hidden_states));
  inputs_embeds.Drop();
  position_ids.Drop();
  positions.Drop();
  return hidden_states;
}

// WhisperModel.forward, inside its module.
Ref Body(TorchWords& t, const Ref& features, const Ref& input_ids, Whisper& w) {
  if (t.pass.past == 0) w.caches.encoded = Encoder(t, features, w.frames);
  return Decoder(t, input_ids, w);
}

void AdoptPast(TorchWords& t, Whisper& w) {
  if (t.pass.past == 0) return;
  const std::int64_t position = t.pass.batch * t.s.hidden;
  const Spec encoded = t.Of(w.frames * position);
  const Spec own = {{t.pass.past * position, t.pass.past_step * position}, t.dtype};
  t.AdoptCrossed(w.caches, {.encoded = encoded, .own = own, .cross = encoded});
}

// The rows of the encoder's table of positions, and the bins of its input.
Status ReadEncoder(TorchWords& t, Whisper& w, std::int64_t& bins) {
  const std::string prefix = t.model.class_name == "WhisperModel" ? "" : "model.";
  const Shape& table = t.WeightShape(t.model.FindModule(prefix + "encoder.embed_positions"));
  const Shape& conv = t.WeightShape(t.model.FindModule(prefix + "encoder.conv1"));
  if (table.size() != 2 || conv.size() != 3) return t.Refuse("no encoder of mel features");
  w.frames = table.front();
  bins = conv[1];
  if (t.pass.past + t.pass.tokens <= t.s.max_positions) return OkStatus();
  return t.Refuse(
      fmt::format("{} tokens, its decoder has {} positions", t.pass.past + t.pass.tokens, t.s.max_positions));
}

}  // namespace

Status ForwardWhisper(TorchWords& t) {
  if (!t.pass.keeps_cache) return t.Refuse("an encoder-decoder without a cache (--kv none) is not realized");
  if (t.pass.reserved > 0) return t.Refuse("an encoder-decoder with a static cache is not realized");
  Whisper w;
  std::int64_t bins = 0;
  STOWAGE_RETURN_IF_ERROR(ReadEncoder(t, w, bins));
  w.caches.layers.resize(t.cache.size());
  t.SetFirstPassDiffers();
  AdoptPast(t, w);
  Ref features;
  if (t.pass.past == 0) features = t.eager.Op("zeros.default", t.Of(t.pass.batch * bins * 2 * w.frames), {});
  Ref input_ids = t.TokenIds();
  Ref out;
  {
    ModuleScope root(t, 0);
    if (t.model.class_name == "WhisperModel") {
      out = Body(t, features, input_ids, w);
    } else {
      Ref hidden_states;
      {
        ModuleScope model(t, "model");
        hidden_states = Body(t, features, input_ids, w);
      }
      out = t.Linear("proj_out", hidden_states);
    }
  }
  input_ids.Drop();  // a keyword, which goes before the positional features
  features.Drop();
  t.KeepOutput(std::move(out));
  t.KeepCrossed(std::move(w.caches));
  return OkStatus();
}

}  // namespace stowage::torch_eager

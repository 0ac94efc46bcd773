#include <fmt/format.h>

#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/families/ops/attention.h"
#include "planner/families/ops/decoder_ops.h"
#include "planner/families/ops/encoder_layers.h"
#include "planner/families/ops/graph_builder.h"
#include "planner/families/ops/mlp.h"

namespace stowage {
namespace {

// What the encoder made, in a pass that runs it, and how many rows a sequence that is in any.
struct Source {
  ValueId encoded = kNoId;
  std::int64_t positions = 0;
};

// Whether the head may choose a token of x, the rows after the decoder's last norm.
void Choose(GraphBuilder& g, ModuleId body, ModuleId head, ValueId x) {
  if (head == kNoId) {
    if (g.pass().past == 0) g.graph().output = x;
    return;
  }
  if (!g.pass().all_logits && g.pass().tokens > 1) x = g.LastToken(body, x);
  if (g.model().forward.logit_scale != 1) {
    x = g.Elementwise(OpKind::kScale, g.NameOf(head) + ".scale", head, kNoId, {x}, 1);
  }
  g.Argmax(g.Linear(head, kNoId, x, ValueKind::kLogits));
}

ValueId T5Block(GraphBuilder& g, ModuleId block, std::int32_t layer, ValueId x, const Source& source, TensorId bias) {
  const std::vector<ModuleId>& parts = g.Children(g.Find(block, "layer"));
  const std::string& name = g.NameOf(block);
  const ValueId normed = g.Norm(g.Find(parts[0], "layer_norm"), layer, x);
  const ValueId self = SelfAttention(g, kNoId, g.Find(parts[0], "SelfAttention"), layer, normed, bias);
  x = g.Residual(name + ".attention_residual", block, layer, x, self);
  const ValueId again = g.Norm(g.Find(parts[1], "layer_norm"), layer, x);
  const ModuleId attention = g.Find(parts[1], "EncDecAttention");
  const ValueId cross = CrossAttention(g, attention, layer, again, source.encoded, source.positions);
  x = g.Residual(name + ".cross_attention_residual", block, layer, x, cross);
  return T5FeedForward(g, block, parts[2], layer, x);
}

void T5(GraphBuilder& g, Source source) {
  const ModuleId decoder = g.Find(0, "decoder");
  if (g.pass().past == 0) source.encoded = T5Encoder(g, g.SourceIds(source.positions));
  ValueId x = g.Embedding(g.Find(decoder, "embed_tokens"), g.TokenIds());
  TensorId bias = kNoId;
  std::int32_t layer = 0;
  for (const ModuleId block : g.Children(g.Find(decoder, "block"))) {
    bias = T5Bias(g, g.Find(g.Children(g.Find(block, "layer"))[0], "SelfAttention"), bias);
    x = T5Block(g, block, layer++, x, source, bias);
  }
  Choose(g, decoder, g.Find(0, "lm_head"), g.Norm(g.Find(decoder, "final_layer_norm"), kNoId, x));
}

ValueId WhisperMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x) {
  const ValueId y = DenseMlp(g, module, layer, g.Norm(g.Find(module, "final_layer_norm"), layer, x));
  return g.Residual(g.NameOf(module) + ".mlp_residual", module, layer, x, y);
}

// Frames, twice as many as positions, are halved by the second convolution.
ValueId WhisperEncoder(GraphBuilder& g, ModuleId encoder) {
  const ModuleId conv1 = g.Find(encoder, "conv1"), conv2 = g.Find(encoder, "conv2");
  const TensorId table = g.OwnTensor(g.Find(encoder, "embed_positions"), "weight");
  const std::int64_t rows = g.tensor(table).shape[0] * g.pass().batch;
  const std::int64_t mel = g.tensor(g.OwnTensor(conv1, "weight")).shape[1];
  ValueId x = Product(g, conv1, Input(g, "mel", 2 * rows, mel), 2 * rows);
  x = g.Elementwise(OpKind::kGelu, g.NameOf(conv1) + ".gelu", conv1, kNoId, {x}, kActivationFlops);
  x = Product(g, conv2, x, rows);
  x = g.Elementwise(OpKind::kGelu, g.NameOf(conv2) + ".gelu", conv2, kNoId, {x}, kActivationFlops);
  x = g.AddRows(g.Find(encoder, "embed_positions"), table, g.tensor(table).shape[0], x);
  std::int32_t layer = 0;
  for (const ModuleId m : g.Children(g.Find(encoder, "layers"))) {
    x = AttentionHalf(g, g.Find(m, "self_attn"), g.Find(m, "self_attn_layer_norm"), layer, x, /*causal=*/false);
    x = WhisperMlp(g, m, layer++, x);
  }
  return g.Norm(g.Find(encoder, "layer_norm"), kNoId, x);
}

ValueId WhisperLayer(GraphBuilder& g, ModuleId decoder, ModuleId m, std::int32_t layer, ValueId x,
                     const Source& source) {
  const std::string& name = g.NameOf(m);
  const ValueId normed = g.Norm(g.Find(m, "self_attn_layer_norm"), layer, x);
  const ValueId self = SelfAttention(g, decoder, g.Find(m, "self_attn"), layer, normed);
  x = g.Residual(name + ".attention_residual", m, layer, x, self);
  const ValueId again = g.Norm(g.Find(m, "encoder_attn_layer_norm"), layer, x);
  const ValueId cross = CrossAttention(g, g.Find(m, "encoder_attn"), layer, again, source.encoded, source.positions);
  x = g.Residual(name + ".cross_attention_residual", m, layer, x, cross);
  return WhisperMlp(g, m, layer, x);
}

void Whisper(GraphBuilder& g, Source source) {
  const ModuleId inner = g.Find(0, "model"), body = inner == kNoId ? 0 : inner, decoder = g.Find(body, "decoder");
  if (g.pass().past == 0) source.encoded = WhisperEncoder(g, g.Find(body, "encoder"));
  const ModuleId positions = g.Find(decoder, "embed_positions");
  ValueId x = g.Embedding(g.Find(decoder, "embed_tokens"), g.TokenIds());
  x = g.AddRows(positions, g.OwnTensor(positions, "weight"), g.pass().tokens, x);
  std::int32_t layer = 0;
  for (const ModuleId m : g.Children(g.Find(decoder, "layers"))) {
    x = WhisperLayer(g, decoder, m, layer++, x, source);
  }
  Choose(g, decoder, g.Find(0, "proj_out"), g.Norm(g.Find(decoder, "layer_norm"), kNoId, x));
}

}  // namespace

Result<OpGraph> BuildEncoderDecoderOps(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  const auto bad = [&](std::string why) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{}: model '{}': {}", pass.Name(), model.name, why)};
  };
  const bool first = pass.past == 0, whisper = model.family == "whisper";
  const std::int64_t prompt = first ? pass.tokens : pass.prompt;
  if (!first && (prompt < 1 || prompt > pass.past)) {
    return bad(fmt::format("{} positions are cached, of a prompt of {}", pass.past, prompt));
  }
  if (!first && pass.tokens > 1) return bad("several tokens after others are not described of an encoder-decoder");
  const Source source{.positions = SourcePositions(model, prompt)};
  Pass decoder = pass;
  decoder.tokens = first ? DecoderPrompt(model, prompt) : pass.tokens;
  // T5's prompt is not in the decoder, whose start token is no part of it.
  const std::int64_t before = whisper ? 0 : prompt, own = PromptIds(model, prompt) - before;
  if (!first) decoder.past = pass.past - prompt + own;
  GraphBuilder g(model, decoder, cache_positions - prompt + own);
  g.graph().first_id = before;
  whisper ? Whisper(g, source) : T5(g, source);
  return g.Take();
}

}  // namespace stowage

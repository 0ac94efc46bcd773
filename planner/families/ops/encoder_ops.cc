#include <fmt/format.h>

#include <string>
#include <utility>

#include "planner/families/families.h"
#include "planner/families/ops/attention.h"
#include "planner/families/ops/decoder_ops.h"
#include "planner/families/ops/encoder_layers.h"
#include "planner/families/ops/graph_builder.h"
#include "planner/families/ops/mlp.h"

namespace stowage {
namespace {

// One row a sequence.
ValueId SelectToken(GraphBuilder& g, ModuleId module, OpKind kind, ValueId x) {
  const std::string name = (g.NameOf(module).empty() ? "" : g.NameOf(module) + ".") + std::string(Name(kind));
  const ValueId out = g.Activation(name + ".out", g.pass().batch, g.value(x).width);
  Op& op = g.Emit(kind, name, module, kNoId, {x}, {out}, 0);
  op.activation_bytes = AffineBytes(2 * g.value(out).bytes());
  return out;
}

// intermediate.dense, activation, output.dense of bert and vit, without the residual.
ValueId IntermediateMlp(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x) {
  const ModuleId intermediate = g.Find(module, "intermediate");
  const ValueId up = g.Linear(g.Find(intermediate, "dense"), layer, x);
  const ValueId act = g.Activate(g.Find(intermediate, "intermediate_act_fn"), layer, up);
  return g.Linear(g.Find(g.Find(module, "output"), "dense"), layer, act);
}

ValueId BertLayer(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x) {
  const std::string& name = g.NameOf(module);
  const ModuleId attention = g.Find(module, "attention"), after = g.Find(attention, "output");
  const ValueId a = Projected(g, g.Find(attention, "self"), g.Find(after, "dense"), layer, x, false);
  x = g.Residual(name + ".attention_residual", module, layer, x, a);
  x = g.Norm(g.Find(after, "LayerNorm"), layer, x);
  x = g.Residual(name + ".mlp_residual", module, layer, x, IntermediateMlp(g, module, layer, x));
  return g.Norm(g.Find(g.Find(module, "output"), "LayerNorm"), layer, x);
}

void Bert(GraphBuilder& g) {
  const ModuleId embeddings = g.Find(0, "embeddings");
  const auto table = [&](const char* name) { return g.OwnTensor(g.Find(embeddings, name), "weight"); };
  ValueId x = g.Embedding(g.Find(embeddings, "word_embeddings"), g.TokenIds());
  x = g.AddRows(g.Find(embeddings, "token_type_embeddings"), table("token_type_embeddings"), 1, x);
  x = g.AddRows(g.Find(embeddings, "position_embeddings"), table("position_embeddings"), g.pass().tokens, x);
  x = g.Norm(g.Find(embeddings, "LayerNorm"), kNoId, x);
  std::int32_t layer = 0;
  for (const ModuleId m : g.Children(g.Find(g.Find(0, "encoder"), "layer"))) x = BertLayer(g, m, layer++, x);
  g.graph().output = x;
  const ModuleId pooler = g.Find(0, "pooler");
  const ValueId pooled = g.Linear(g.Find(pooler, "dense"), kNoId, SelectToken(g, pooler, OpKind::kFirstToken, x));
  g.Activate(g.Find(pooler, "activation"), kNoId, pooled);
}

void ClipText(GraphBuilder& g) {
  const ModuleId text = g.Find(0, "text_model"), embeddings = g.Find(text, "embeddings");
  const ModuleId positions = g.Find(embeddings, "position_embedding");
  ValueId x = g.Embedding(g.Find(embeddings, "token_embedding"), g.TokenIds());
  x = g.AddRows(positions, g.OwnTensor(positions, "weight"), g.pass().tokens, x);
  std::int32_t layer = 0;
  for (const ModuleId m : g.Children(g.Find(g.Find(text, "encoder"), "layers"))) {
    x = AttentionHalf(g, g.Find(m, "self_attn"), g.Find(m, "layer_norm1"), layer, x, /*causal=*/true);
    const ValueId y = DenseMlp(g, g.Find(m, "mlp"), layer, g.Norm(g.Find(m, "layer_norm2"), layer, x));
    x = g.Residual(g.NameOf(m) + ".mlp_residual", m, layer, x, y);
    ++layer;
  }
  g.graph().output = g.Norm(g.Find(text, "final_layer_norm"), kNoId, x);
  const ValueId pooled = SelectToken(g, text, OpKind::kSelectToken, g.graph().output);
  if (const ModuleId projection = g.Find(0, "text_projection"); projection != kNoId)
    g.Linear(projection, kNoId, pooled);
}

ValueId VitEmbeddings(GraphBuilder& g, ModuleId embeddings) {
  const ModuleId projection = g.Find(g.Find(embeddings, "patch_embeddings"), "projection");
  const TensorId token = g.OwnTensor(embeddings, "cls_token"), table = g.OwnTensor(embeddings, "position_embeddings");
  const std::int64_t batch = g.pass().batch, positions = g.tensor(table).shape[1], h = g.tensor(table).shape[2];
  const Shape& patch = g.tensor(g.OwnTensor(projection, "weight")).shape;
  const std::int64_t patches = (positions - 1) * batch;
  const ValueId x = Product(g, projection, Input(g, "image", patches, patch[1] * patch[2] * patch[3]), patches);
  const ValueId with_class = g.Activation(g.tensor(token).name + ".out", positions * batch, h);
  g.Use(g.Emit(OpKind::kPrependRow, g.tensor(token).name, embeddings, kNoId, {x}, {with_class}, 0), token);
  return g.AddRows(embeddings, table, positions, with_class);
}

void Vit(GraphBuilder& g) {
  const ModuleId inner = g.Find(0, "vit"), body = inner == kNoId ? 0 : inner;
  ValueId x = VitEmbeddings(g, g.Find(body, "embeddings"));
  std::int32_t layer = 0;
  for (const ModuleId m : g.Children(g.Find(g.Find(body, "encoder"), "layer"))) {
    const ModuleId attention = g.Find(m, "attention");
    const ValueId normed = g.Norm(g.Find(m, "layernorm_before"), layer, x);
    const ValueId a = Projected(g, g.Find(attention, "attention"), g.Find(g.Find(attention, "output"), "dense"), layer,
                                normed, false);
    x = g.Residual(g.NameOf(m) + ".attention_residual", m, layer, x, a);
    const ValueId y = IntermediateMlp(g, m, layer, g.Norm(g.Find(m, "layernorm_after"), layer, x));
    x = g.Residual(g.NameOf(m) + ".mlp_residual", m, layer, x, y);
    ++layer;
  }
  x = g.Norm(g.Find(body, "layernorm"), kNoId, x);
  g.graph().output = x;
  const ModuleId classifier = g.Find(0, "classifier"), pooler = g.Find(body, "pooler");
  if (g.OwnTensor(classifier, "weight") != kNoId) {
    g.graph().output = g.Linear(classifier, kNoId, SelectToken(g, body, OpKind::kFirstToken, x));
  } else if (pooler != kNoId) {
    const ValueId pooled = g.Linear(g.Find(pooler, "dense"), kNoId, SelectToken(g, pooler, OpKind::kFirstToken, x));
    g.Activate(g.Find(pooler, "activation"), kNoId, pooled);
  }
}

}  // namespace

Result<OpGraph> BuildEncoderOps(const Model& model, const Pass& pass) {
  GraphBuilder g(model, pass, pass.tokens);
  if (model.family == "bert") {
    Bert(g);
  } else if (model.family == "t5" || model.family == "mt5" || model.family == "umt5") {
    g.graph().output = T5Encoder(g, g.TokenIds());
  } else if (model.family == "clip_text_model") {
    ClipText(g);
  } else if (model.family == "vit") {
    Vit(g);
  } else {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("model '{}': no op graph for family {} yet", model.name, model.family)};
  }
  return g.Take();
}

}  // namespace stowage

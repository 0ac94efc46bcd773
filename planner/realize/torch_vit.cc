// transformers' modeling_vit.py (5.23): ViTForImageClassification, or ViTModel with its pooler. The pass is one image a
// sequence, whatever its tokens.
#include <utility>

#include "planner/realize/torch_encoder.h"
#include "planner/realize/torch_families.h"

namespace stowage::torch_eager {
namespace {

// From the tables' shapes: patches and the class token.
std::int64_t Positions(TorchWords& t) {
  const TensorId table = t.Own(t.eager.Current(), "position_embeddings");
  if (table != kNoId) return Elements(t.model.tensors[table].shape) / t.s.hidden;
  t.Fail("has no table of positions");
  return 1;
}

Weights One(TorchWords& t, std::string_view name) {
  Weights weights;
  if (const TensorId id = t.Own(t.eager.Current(), name); id != kNoId) {
    weights.tensors.push_back(id);
    weights.bytes = t.model.tensors[id].bytes();
  }
  return weights;
}

Ref Embeddings(TorchWords& t, const Ref& pixels, std::int64_t& positions) {
  ModuleScope self(t, "embeddings");
  positions = Positions(t);
  Ref embeddings;
  {
    ModuleScope patches(t, "patch_embeddings");
    embeddings = Convolution(t, "projection", pixels, positions - 1);
  }
  const Spec rows = t.Of(t.pass.batch * positions * t.s.hidden);
  Ref next = t.eager.Op("cat.default", rows, {&embeddings}, One(t, "cls_token"));
  embeddings = std::move(next);
  next = t.eager.Op("add.Tensor", rows, {&embeddings}, One(t, "position_embeddings"));
  embeddings = std::move(next);
  return t.Identity("dropout", embeddings);
}

Ref Attention(TorchWords& t, const Ref& hidden_states, std::int64_t positions) {
  ModuleScope self(t, "attention");
  Ref query = t.Linear("q_proj", hidden_states);
  Ref key = t.Linear("k_proj", hidden_states);
  Ref value = t.Linear("v_proj", hidden_states);
  Ref attn_output = FusedAttention(t, query, key, value, {}, {t.s.heads, positions, {positions}});
  Ref projected = t.Linear("o_proj", attn_output);
  attn_output = std::move(projected);
  query.Drop();
  key.Drop();
  value.Drop();
  return attn_output;
}

Ref Layer(TorchWords& t, const Ref& x, std::int64_t positions) {
  Ref residual = x;
  Ref hidden_states = t.LayerNorm("layernorm_before", x);
  Ref next = Attention(t, hidden_states, positions);
  hidden_states = std::move(next);
  hidden_states = t.Identity("dropout", hidden_states);
  next = t.Add(hidden_states, residual);
  hidden_states = std::move(next);
  residual = hidden_states;
  next = t.LayerNorm("layernorm_after", hidden_states);
  hidden_states = std::move(next);
  next = PlainMlp(t, hidden_states);
  hidden_states = std::move(next);
  hidden_states = t.Identity("dropout", hidden_states);
  next = t.Add(hidden_states, residual);
  hidden_states = std::move(next);
  residual.Drop();
  return hidden_states;
}

struct Outputs {
  Ref sequence, pooled;
};

// ViTModel.forward, inside its module.
Outputs Body(TorchWords& t, const Ref& pixels, bool pools) {
  std::int64_t positions = 1;
  Ref embedding_output = Embeddings(t, pixels, positions);
  Ref hidden_states = embedding_output;
  for (const ModuleId module : Members(t, "layers")) {
    Ref layer_output;
    {
      ModuleScope layer(t, module);
      layer_output = Layer(t, hidden_states, positions);
    }
    hidden_states = std::move(layer_output);
  }
  Outputs out;
  out.sequence = t.LayerNorm("layernorm", hidden_states);
  if (pools) {
    ModuleScope pooler(t, "pooler");
    const Ref first_token = out.sequence.View({t.pass.batch * t.s.hidden});
    Ref dense = t.Linear("dense", first_token);
    out.pooled = t.Activation("activation", dense);
  }
  embedding_output.Drop();
  hidden_states.Drop();
  return out;
}

}  // namespace

Status ForwardVit(TorchWords& t) {
  STOWAGE_RETURN_IF_ERROR(CheckIsPrefill(t));
  const bool classifies = t.model.class_name == "ViTForImageClassification";
  const ModuleId projection = t.model.FindModule(classifies ? "vit.embeddings.patch_embeddings.projection"
                                                            : "embeddings.patch_embeddings.projection");
  const Shape& patch = t.WeightShape(projection);  // [hidden, channels, side, side]
  if (patch.size() != 4) return t.Refuse("no projection of patches");
  const std::int64_t side = t.model.forward.image_side;
  Ref pixels = t.eager.Op("zeros.default", t.Of(t.pass.batch * patch[1] * side * side), {});
  Outputs out;
  {
    ModuleScope root(t, 0);
    if (!classifies) {
      out = Body(t, pixels, /*pools=*/true);
    } else {
      {
        ModuleScope vit(t, "vit");
        out = Body(t, pixels, /*pools=*/false);
      }
      const Ref first_token = out.sequence.View({t.pass.batch * t.s.hidden});
      out.pooled = t.Linear("classifier", first_token);
      out.sequence.Drop();
    }
  }
  pixels.Drop();
  if (!classifies) t.KeepOutput(std::move(out.sequence));
  t.KeepOutput(std::move(out.pooled));
  return OkStatus();
}

}  // namespace stowage::torch_eager

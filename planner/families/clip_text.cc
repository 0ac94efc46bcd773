#include "planner/families/clip_text.h"

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

struct ClipTextConfig {
  TransformerShape shape;
  std::int64_t projection = 512;
  std::int64_t eos_token = kNoId;
  DType dtype = DType::kF32;
  std::string activation;
  bool projected = false;
};

Result<ClipTextConfig> Read(const HfConfig& outer) {
  ClipTextConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(const std::string named, ReadClass(outer, {"CLIPTextModel", "CLIPTextModelWithProjection", "CLIPModel"}));
  c.projected = named == "CLIPTextModelWithProjection";
  STOWAGE_TRY(const std::string type, outer.StringOr("model_type", ""));
  STOWAGE_TRY(const HfConfig inner, outer.ObjectOr("text_config"));
  const HfConfig& config = type == "clip" ? inner : outer;
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers"}, 12, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size"}, 512, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"intermediate_size"}, 2048, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads"}, 8, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 49408, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings"}, 77, kPositionRange));
  STOWAGE_TRY(c.projection, ReadSize(config, {"projection_dim"}, 512, kWidthRange));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = 0;  // an encoder caches nothing
  s.head_dim = s.hidden / s.heads;
  STOWAGE_TRY(const DType outer_dtype, ReadStoredDType(outer, DType::kF32));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, outer_dtype));
  STOWAGE_TRY(c.activation, ReadActivation(config, "hidden_act", "quick_gelu"));
  STOWAGE_TRY(c.eos_token, config.IntOr("eos_token_id", 49407, Range<std::int64_t>{0, kVocabRange.most}));
  return c;
}

void AddLayer(ModuleTree& tree, std::int64_t index, const ClipTextConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "CLIPEncoderLayer");
  tree.Enter("self_attn", "CLIPAttention");
  for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"}) tree.Linear(name, h, h, c.dtype, true);
  tree.Leave();
  tree.LayerNorm("layer_norm1", h, c.dtype);
  tree.Enter("mlp", "CLIPMLP");
  tree.Leaf("activation_fn", c.activation);
  tree.Linear("fc1", c.shape.intermediate, h, c.dtype, true);
  tree.Linear("fc2", h, c.shape.intermediate, c.dtype, true);
  tree.Leave();
  tree.LayerNorm("layer_norm2", h, c.dtype);
  tree.Leave();
}

}  // namespace

Result<Model> BuildClipText(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const ClipTextConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "clip_text_model";
  model.class_name = c.projected ? "CLIPTextModelWithProjection" : "CLIPTextModel";
  model.shape = c.shape;
  model.forward.eos_token = c.eos_token;
  model.attention_bias = model.mlp_bias = true;
  model.no_split_classes = {"CLIPTextEmbeddings", "CLIPEncoderLayer"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  tree.Enter("text_model", "CLIPTextTransformer");
  tree.Enter("embeddings", "CLIPTextEmbeddings");
  tree.Buffer("position_ids", {1, c.shape.max_positions}, DType::kI64, /*persistent=*/false);
  tree.Embedding("token_embedding", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Embedding("position_embedding", c.shape.max_positions, c.shape.hidden, c.dtype);
  tree.Leave();
  tree.Enter("encoder", "CLIPEncoder");
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.Leave();
  tree.LayerNorm("final_layer_norm", c.shape.hidden, c.dtype);
  tree.Leave();
  if (c.projected) tree.Linear("text_projection", c.projection, c.shape.hidden, c.dtype, false);
  return model;
}

}  // namespace stowage

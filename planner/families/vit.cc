#include "planner/families/vit.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

constexpr Range<std::int64_t> kPixels = {1, 1 << 16};

struct VitConfig {
  TransformerShape shape;
  std::int64_t image = 224;  // pixels of a side
  std::int64_t patch = 16;
  std::int64_t channels = 3;
  std::int64_t labels = 2;
  std::int64_t pooled = 0;  // pooler_output_size
  std::string pooler_activation;
  DType dtype = DType::kF32;
  std::string activation;
  bool qkv_bias = true;
  bool head = true;
};

Result<VitConfig> Read(const HfConfig& config) {
  VitConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(const std::string named, ReadClass(config, {"ViTForImageClassification", "ViTModel"}));
  c.head = named == "ViTForImageClassification";
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers"}, 12, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size"}, 768, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"intermediate_size"}, 3072, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads"}, 12, kHeadRange));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = 0;  // an encoder caches nothing
  s.head_dim = s.hidden / s.heads;
  STOWAGE_TRY(c.image, ReadSize(config, {"image_size"}, 224, kPixels));
  STOWAGE_TRY(c.patch, ReadSize(config, {"patch_size"}, 16, kPixels));
  if (c.patch > c.image) {
    return config.Bad("patch_size", fmt::format("is {}, larger than image_size {}", c.patch, c.image));
  }
  STOWAGE_TRY(c.channels, ReadSize(config, {"num_channels"}, 3, {1, 1 << 12}));
  STOWAGE_TRY(const std::int64_t named_labels, config.SizeOr("id2label", 0));
  STOWAGE_TRY(c.labels, ReadSize(config, {"num_labels"}, named_labels > 0 ? named_labels : 2, {0, 1 << 20}));
  STOWAGE_TRY(c.pooled, ReadSize(config, {"pooler_output_size"}, s.hidden, kWidthRange));
  STOWAGE_TRY(c.pooler_activation, ReadActivation(config, "pooler_act", "tanh"));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "hidden_act", "gelu"));
  STOWAGE_TRY(c.qkv_bias, config.BoolOr("qkv_bias", true));
  return c;
}

void AddEmbeddings(ModuleTree& tree, const VitConfig& c) {
  const std::int64_t h = c.shape.hidden;
  const std::int64_t patches = (c.image / c.patch) * (c.image / c.patch);
  tree.Enter("embeddings", "ViTEmbeddings");
  tree.Param("cls_token", {1, 1, h}, c.dtype);
  tree.Param("position_embeddings", {1, patches + 1, h}, c.dtype);
  tree.Enter("patch_embeddings", "ViTPatchEmbeddings");
  tree.Enter("projection", "Conv2d");
  tree.Param("weight", {h, c.channels, c.patch, c.patch}, c.dtype);
  tree.Param("bias", {h}, c.dtype);
  tree.Leave();
  tree.Leave();
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

void AddLayer(ModuleTree& tree, std::int64_t index, const VitConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "ViTLayer");
  tree.Enter("attention", "ViTAttention");
  tree.Enter("attention", "ViTSelfAttention");
  for (const char* name : {"query", "key", "value"}) tree.Linear(name, h, h, c.dtype, c.qkv_bias);
  tree.Leave();
  tree.Enter("output", "ViTSelfOutput");
  tree.Linear("dense", h, h, c.dtype, true);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  tree.Leave();
  tree.Enter("intermediate", "ViTIntermediate");
  tree.Linear("dense", c.shape.intermediate, h, c.dtype, true);
  tree.Leaf("intermediate_act_fn", c.activation);
  tree.Leave();
  tree.Enter("output", "ViTOutput");
  tree.Linear("dense", h, c.shape.intermediate, c.dtype, true);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  tree.LayerNorm("layernorm_before", h, c.dtype);
  tree.LayerNorm("layernorm_after", h, c.dtype);
  tree.Leave();
}

void AddBody(ModuleTree& tree, const VitConfig& c) {
  AddEmbeddings(tree, c);
  tree.Enter("encoder", "ViTEncoder");
  tree.Enter("layer", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.Leave();
  tree.LayerNorm("layernorm", c.shape.hidden, c.dtype);
}

}  // namespace

Result<Model> BuildVit(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const VitConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "vit";
  model.class_name = c.head ? "ViTForImageClassification" : "ViTModel";
  model.shape = c.shape;
  model.forward.image_side = c.image;
  model.attention_bias = c.qkv_bias;
  model.mlp_bias = true;
  model.no_split_classes = {"ViTEmbeddings", "ViTLayer"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  if (!c.head) {
    AddBody(tree, c);
    tree.Enter("pooler", "ViTPooler");
    tree.Linear("dense", c.pooled, c.shape.hidden, c.dtype, true);
    tree.Leaf("activation", c.pooler_activation);
    tree.Leave();
    return model;
  }
  tree.Enter("vit", "ViTModel");
  AddBody(tree, c);
  tree.Leave();
  if (c.labels > 0) {
    tree.Linear("classifier", c.labels, c.shape.hidden, c.dtype, true);
  } else {
    tree.Leaf("classifier", "Identity");
  }
  return model;
}

}  // namespace stowage

#include "planner/families/gemma3.h"

#include <utility>

#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

struct Siglip {
  std::int64_t hidden, intermediate, layers, channels, image, patch;
  bool head;
  std::string activation;
  DType dtype;
};

Result<Siglip> ReadSiglip(const HfConfig& config, DType dtype) {
  constexpr Range<std::int64_t> kLayers = {1, 10'000};
  Siglip v;
  STOWAGE_TRY(v.hidden, config.IntOr("hidden_size", 768, kSizes));
  STOWAGE_TRY(v.intermediate, config.IntOr("intermediate_size", 3072, kSizes));
  STOWAGE_TRY(v.layers, config.IntOr("num_hidden_layers", 12, kLayers));
  STOWAGE_TRY(v.channels, config.IntOr("num_channels", 3, Range<std::int64_t>{1, 1024}));
  STOWAGE_TRY(v.image, config.IntOr("image_size", 224, Range<std::int64_t>{1, 1 << 14}));
  STOWAGE_TRY(v.patch, config.IntOr("patch_size", 16, Range<std::int64_t>{1, 1 << 10}));
  STOWAGE_TRY(v.head, config.BoolOr("vision_use_head", true));
  STOWAGE_TRY(v.activation, ReadActivation(config, "hidden_act", "gelu_pytorch_tanh"));
  v.dtype = dtype;
  return v;
}

void LayerNorm(ModuleTree& tree, std::string_view name, const Siglip& v) {
  tree.Enter(name, "LayerNorm");
  tree.Param("weight", {v.hidden}, v.dtype);
  tree.Param("bias", {v.hidden}, v.dtype);
  tree.Leave();
}

void Mlp(ModuleTree& tree, const Siglip& v) {
  tree.Enter("mlp", "SiglipMLP");
  tree.Leaf("activation_fn", v.activation);
  tree.Linear("fc1", v.intermediate, v.hidden, v.dtype, true);
  tree.Linear("fc2", v.hidden, v.intermediate, v.dtype, true);
  tree.Leave();
}

void EncoderLayer(ModuleTree& tree, const Siglip& v, std::int64_t index) {
  tree.Enter(std::to_string(index), "SiglipEncoderLayer");
  LayerNorm(tree, "layer_norm1", v);
  tree.Enter("self_attn", "SiglipAttention");
  for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"}) {
    tree.Linear(name, v.hidden, v.hidden, v.dtype, true);
  }
  tree.Leave();
  LayerNorm(tree, "layer_norm2", v);
  Mlp(tree, v);
  tree.Leave();
}

void PoolingHead(ModuleTree& tree, const Siglip& v) {
  tree.Enter("head", "SiglipMultiheadAttentionPoolingHead");
  tree.Param("probe", {1, 1, v.hidden}, v.dtype);
  tree.Enter("attention", "MultiheadAttention");
  tree.Param("in_proj_weight", {3 * v.hidden, v.hidden}, v.dtype);
  tree.Param("in_proj_bias", {3 * v.hidden}, v.dtype);
  tree.Enter("out_proj", "NonDynamicallyQuantizableLinear");
  tree.Param("weight", {v.hidden, v.hidden}, v.dtype);
  tree.Param("bias", {v.hidden}, v.dtype);
  tree.Leave();
  tree.Leave();
  LayerNorm(tree, "layernorm", v);
  Mlp(tree, v);
  tree.Leave();
}

void VisionTower(ModuleTree& tree, const Siglip& v) {
  const std::int64_t positions = (v.image / v.patch) * (v.image / v.patch);
  tree.Enter("vision_tower", "SiglipVisionModel");
  tree.Enter("vision_model", "SiglipVisionTransformer");
  tree.Enter("embeddings", "SiglipVisionEmbeddings");
  tree.Buffer("position_ids", {1, positions}, DType::kI64, /*persistent=*/false);
  tree.Enter("patch_embedding", "Conv2d");
  tree.Param("weight", {v.hidden, v.channels, v.patch, v.patch}, v.dtype);
  tree.Param("bias", {v.hidden}, v.dtype);
  tree.Leave();
  tree.Enter("position_embedding", "Embedding");
  tree.Param("weight", {positions, v.hidden}, v.dtype);
  tree.Leave();
  tree.Leave();
  tree.Enter("encoder", "SiglipEncoder");
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < v.layers; ++i) EncoderLayer(tree, v, i);
  tree.Leave();
  tree.Leave();
  LayerNorm(tree, "post_layernorm", v);
  if (v.head) PoolingHead(tree, v);
  tree.Leave();
  tree.Leave();
}

void Projector(DecoderTree& t, const Siglip& v) {
  t.tree.Enter("multi_modal_projector", "Gemma3MultiModalProjector");
  t.tree.Param("mm_input_projection_weight", {v.hidden, t.s.hidden}, t.c.dtype);
  t.Norm("mm_soft_emb_norm", {v.hidden});
  t.tree.Leaf("avg_pool", "AvgPool2d");
  t.tree.Leave();
}

}  // namespace

std::vector<std::string> Gemma3NoSplit() {
  return {"Gemma3DecoderLayer", "SiglipVisionEmbeddings", "SiglipEncoderLayer", "SiglipMultiheadAttentionPoolingHead"};
}

Result<Model> BuildGemma3(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const auto architectures, config.StringsOr("architectures"));
  if (!architectures.empty() && architectures[0] != "Gemma3ForConditionalGeneration") {
    return config.Bad("architectures",
                      "names " + architectures[0] + ", supported for gemma3 is Gemma3ForConditionalGeneration");
  }
  STOWAGE_TRY(const HfConfig inner, config.ObjectOr("text_config"));
  STOWAGE_TRY(DecoderConfig c, ReadGemma3Text(inner));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, c.dtype));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", c.tied));
  STOWAGE_TRY(const HfConfig vision, config.ObjectOr("vision_config"));
  STOWAGE_TRY(const Siglip v, ReadSiglip(vision, c.dtype));

  Model model;
  model.name = std::move(name);
  model.family = "gemma3";
  model.class_name = "Gemma3ForConditionalGeneration";
  model.shape = c.shape;
  model.rope = c.rope;
  model.forward = c.forward;
  model.attention_bias = c.attention_bias;
  model.no_split_classes = Gemma3NoSplit();
  DecoderTree t(model, c);
  t.tree.Enter("", model.class_name);
  VisionTower(t.tree, v);
  Projector(t, v);
  t.tree.Enter("language_model", "Gemma3ForCausalLM");
  AddDecoder(t, Gemma3Layer);
  return model;
}

}  // namespace stowage

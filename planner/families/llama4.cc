// Llama 4, alone (llama4_text) and with its vision tower:
//
//   Llama4ForConditionalGeneration
//   |- vision_model Llama4VisionModel               class_embedding [v], positional_embedding_vlm [(image / p)^2 + 1, v]
//   |  |- patch_embedding                           linear [v, channels p p]
//   |  |- layernorm_pre, layernorm_post
//   |  |- model Llama4VisionEncoder                 layers.i Llama4VisionEncoderLayer, all with biases
//   |  `- vision_adapter.mlp                        fc1, fc2
//   |- multi_modal_projector                        linear_1 [h, vision_output_dim]
//   `- language_model Llama4ForCausalLM             the tree of decoder.h
//
// Experts are stacked in files as in memory: gate_up_proj [E, h, 2 I], down_proj [E, I, h]. Dense layers are
// intermediate_size_mlp wide. The complex table of the vision rotary embedding counts as pairs of fp32.
#include <algorithm>
#include <utility>
#include <vector>

#include "planner/families/decoder.h"
#include "planner/families/decoder_families.h"

namespace stowage {
namespace {

struct Text {
  DecoderConfig c;
  std::int64_t dense_width = 0;
  bool qk_norm = true;
  std::vector<bool> sparse;  // per layer
};

struct Vision {
  std::int64_t hidden, intermediate, layers, heads, channels, image, patch;
  std::int64_t projector_in, projector_out, out;
  std::string activation;
  DType dtype;
};

void FeedForward(DecoderTree& t, std::string_view name, std::int64_t width) {
  t.GatedMlp(name, "Llama4TextMLP", width, "activation_fn");
}

void Layer(DecoderTree& t, const Text& text, std::size_t index) {
  const TransformerShape& s = t.s;
  t.tree.Enter("self_attn", "Llama4TextAttention");
  t.Projections(t.c.attention_bias, t.c.attention_bias);
  if (text.qk_norm && t.c.forward.rotates[index]) t.tree.Leaf("qk_norm", "Llama4TextL2Norm");
  t.tree.Leave();
  if (text.sparse[index]) {
    t.tree.Enter("feed_forward", "Llama4TextMoe");
    t.tree.Enter("experts", "Llama4TextExperts");
    t.tree.Param("gate_up_proj", {s.experts, s.hidden, 2 * s.intermediate}, t.c.dtype);
    t.tree.Param("down_proj", {s.experts, s.intermediate, s.hidden}, t.c.dtype);
    t.tree.Leaf("act_fn", t.c.activation);
    t.tree.Leave();
    t.Router("router", "Llama4Router");
    FeedForward(t, "shared_expert", s.intermediate);
    t.tree.Leave();
  } else {
    FeedForward(t, "feed_forward", text.dense_width);
  }
  t.Norm("input_layernorm", {s.hidden});
  t.Norm("post_attention_layernorm", {s.hidden});
}

// Whether each layer is in `listed`, or by default at the end of each group of `step`.
std::vector<bool> Mark(std::int64_t layers, bool given, const std::vector<std::int64_t>& listed, std::int64_t step) {
  std::vector<bool> out;
  for (std::int64_t i = 0; i < layers; ++i) {
    out.push_back(given ? std::ranges::find(listed, i) != listed.end() : (i + 1) % step == 0);
  }
  return out;
}

Result<Text> ReadText(const HfConfig& config) {
  constexpr DecoderDefaults kDefaults = {48, 5120, 8192, 40, 8, 128, 202048, 131072, 1e-5, 5e5};
  Text text;
  STOWAGE_TRY(text.c, ReadDecoderConfig(config, kDefaults, "Llama4", "Llama4TextModel"));
  DecoderConfig& c = text.c;
  c.mlp_bias = false;
  c.class_infix = "Text";
  c.norm_class = "Llama4TextRMSNorm";
  STOWAGE_TRY(text.dense_width, config.IntOr("intermediate_size_mlp", 16384, kSizes));
  STOWAGE_TRY(text.qk_norm, config.BoolOr("use_qk_norm", true));
  STOWAGE_TRY(c.shape.experts, ReadSize(config, {"num_local_experts", "num_experts"}, 16, kExperts));
  STOWAGE_TRY(c.shape.experts_per_token, config.IntOr("num_experts_per_tok", 1, kExperts));
  STOWAGE_TRY(const std::int64_t step, config.IntOr("interleave_moe_layer_step", 1, kSizes));
  STOWAGE_TRY(const std::vector<std::int64_t> moe_layers, config.IntsOr("moe_layers"));
  text.sparse = Mark(c.shape.layers, config.Has("moe_layers"), moe_layers, step);
  text.c.forward.chunked = true;
  STOWAGE_TRY(text.c.forward.rotates, ReadRotatingLayers(config, c.shape.layers));
  // Published configs have a number there, of which only 0 means no.
  const Result<bool> tempers = config.BoolOr("attn_temperature_tuning", true);
  const Result<std::int64_t> number = config.IntOr("attn_temperature_tuning", 1, {0, 1 << 20});
  if (!tempers && !number) return tempers.error();
  text.c.forward.tempers = tempers ? *tempers : *number != 0;
  STOWAGE_TRY(text.c.forward.router.keeps_logits, config.BoolOr("output_router_logits", false));
  STOWAGE_TRY(const std::int64_t chunk, ReadNullable(config, "attention_chunk_size", 8192));
  const auto chunked = [&](std::int64_t i) { return c.forward.rotates[static_cast<std::size_t>(i)]; };
  STOWAGE_RETURN_IF_ERROR(ReadWindows(config, chunk, chunked, c.shape));
  return text;
}

Result<Vision> ReadVision(const HfConfig& config, DType dtype) {
  constexpr Range<std::int64_t> kLayers = {1, 10'000};
  Vision v;
  STOWAGE_TRY(v.hidden, config.IntOr("hidden_size", 768, kSizes));
  STOWAGE_TRY(v.intermediate, config.IntOr("intermediate_size", 5632, kSizes));
  STOWAGE_TRY(v.layers, config.IntOr("num_hidden_layers", 34, kLayers));
  STOWAGE_TRY(v.heads, config.IntOr("num_attention_heads", 16, kSizes));
  STOWAGE_TRY(v.channels, config.IntOr("num_channels", 3, Range<std::int64_t>{1, 1024}));
  STOWAGE_TRY(v.image, config.IntOr("image_size", 448, Range<std::int64_t>{1, 1 << 14}));
  STOWAGE_TRY(v.patch, config.IntOr("patch_size", 14, Range<std::int64_t>{1, 1 << 10}));
  STOWAGE_TRY(v.projector_in, config.IntOr("projector_input_dim", 4096, kSizes));
  STOWAGE_TRY(v.projector_out, config.IntOr("projector_output_dim", 4096, kSizes));
  STOWAGE_TRY(v.out, config.IntOr("vision_output_dim", 7680, kSizes));
  v.activation = "GELU";  // nn.GELU, whatever hidden_act says
  v.dtype = dtype;
  return v;
}

void LayerNorm(ModuleTree& tree, std::string_view name, const Vision& v) {
  tree.Enter(name, "LayerNorm");
  tree.Param("weight", {v.hidden}, v.dtype);
  tree.Param("bias", {v.hidden}, v.dtype);
  tree.Leave();
}

void VisionLayer(ModuleTree& tree, const Vision& v, std::int64_t index) {
  tree.Enter(std::to_string(index), "Llama4VisionEncoderLayer");
  tree.Enter("self_attn", "Llama4VisionAttention");
  const std::int64_t width = v.hidden / v.heads * v.heads;
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) tree.Linear(name, width, v.hidden, v.dtype, true);
  tree.Linear("o_proj", v.hidden, width, v.dtype, true);
  tree.Leave();
  tree.Enter("mlp", "Llama4VisionMLP");
  tree.Leaf("activation_fn", v.activation);
  tree.Linear("fc1", v.intermediate, v.hidden, v.dtype, true);
  tree.Linear("fc2", v.hidden, v.intermediate, v.dtype, true);
  tree.Leave();
  LayerNorm(tree, "input_layernorm", v);
  LayerNorm(tree, "post_attention_layernorm", v);
  tree.Leave();
}

void VisionTower(ModuleTree& tree, const Vision& v) {
  const std::int64_t positions = (v.image / v.patch) * (v.image / v.patch) + 1;
  tree.Enter("vision_model", "Llama4VisionModel");
  tree.Param("class_embedding", {v.hidden}, v.dtype);
  tree.Param("positional_embedding_vlm", {positions, v.hidden}, v.dtype);
  tree.Enter("patch_embedding", "Llama4UnfoldConvolution");
  tree.Leaf("unfold", "Unfold");
  tree.Linear("linear", v.hidden, v.channels * v.patch * v.patch, v.dtype, false);
  tree.Leave();
  tree.Enter("rotary_embedding", "Llama4VisionRotaryEmbedding");
  tree.Buffer("freqs_ci", {positions, 1, v.hidden / v.heads / 2, 2}, DType::kF32, /*persistent=*/false);
  tree.Leave();
  LayerNorm(tree, "layernorm_pre", v);
  LayerNorm(tree, "layernorm_post", v);
  tree.Enter("model", "Llama4VisionEncoder");
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < v.layers; ++i) VisionLayer(tree, v, i);
  tree.Leave();
  tree.Leave();
  tree.Enter("vision_adapter", "Llama4VisionPixelShuffleMLP");
  tree.Enter("mlp", "Llama4VisionMLP2");
  tree.Linear("fc1", v.projector_in, v.intermediate, v.dtype, false);
  tree.Linear("fc2", v.projector_out, v.projector_out, v.dtype, false);
  tree.Leaf("activation_fn", v.activation);
  tree.Leave();
  tree.Leave();
  tree.Leave();
}

}  // namespace

Result<Model> BuildLlama4Text(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const Text text, ReadText(config));
  const LayerFunction layer = [&](DecoderTree& t, std::int64_t i) { Layer(t, text, static_cast<std::size_t>(i)); };
  return BuildDecoder(text.c, layer, std::move(name), config.where());
}

Result<Model> BuildLlama4(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const auto architectures, config.StringsOr("architectures"));
  if (!architectures.empty() && architectures[0] != "Llama4ForConditionalGeneration") {
    return config.Bad("architectures",
                      "names " + architectures[0] + ", supported for llama4 is Llama4ForConditionalGeneration");
  }
  STOWAGE_TRY(const HfConfig inner, config.ObjectOr("text_config"));
  STOWAGE_TRY(Text text, ReadText(inner));
  STOWAGE_RETURN_IF_ERROR(CheckExperts(text.c.shape, config.where()));
  STOWAGE_TRY(text.c.dtype, ReadStoredDType(config, text.c.dtype));
  STOWAGE_TRY(const HfConfig vision, config.ObjectOr("vision_config"));
  STOWAGE_TRY(const Vision v, ReadVision(vision, text.c.dtype));

  Model model;
  model.name = std::move(name);
  model.family = "llama4";
  model.class_name = "Llama4ForConditionalGeneration";
  model.shape = text.c.shape;
  model.rope = text.c.rope;
  model.forward = text.c.forward;
  model.attention_bias = text.c.attention_bias;
  model.no_split_classes = {"Llama4TextDecoderLayer", "Llama4VisionEncoderLayer"};
  DecoderTree t(model, text.c);
  t.tree.Enter("", model.class_name);
  VisionTower(t.tree, v);
  t.tree.Enter("multi_modal_projector", "Llama4MultiModalProjector");
  t.tree.Linear("linear_1", t.s.hidden, v.out, t.c.dtype, false);
  t.tree.Leave();
  t.tree.Enter("language_model", "Llama4ForCausalLM");
  AddDecoder(t, [&](DecoderTree& d, std::int64_t i) { Layer(d, text, static_cast<std::size_t>(i)); });
  return model;
}

}  // namespace stowage

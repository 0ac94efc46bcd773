#include "planner/families/falcon.h"

#include <fmt/format.h>

#include <utility>

#include "planner/families/headed.h"

namespace stowage {
namespace {

struct FalconConfig {
  TransformerShape shape;
  std::int64_t qkv_rows = 0;
  DType dtype = DType::kF32;
  std::string activation;
  bool model_only = false;  // FalconModel
  bool bias = false;
  bool alibi = false;
  bool parallel = true;
  bool two_norms = false;
  bool tied = true;
};

Status ReadSizes(const HfConfig& config, bool refined_web, FalconConfig& c) {
  TransformerShape& s = c.shape;
  // FalconConfig ignores n_layer and n_head, which some of its files still carry.
  const auto size = [&](const char* now, const char* then, std::int64_t absent, Range<std::int64_t> range) {
    return refined_web ? ReadSize(config, {then, now}, absent, range) : ReadSize(config, {now}, absent, range);
  };
  STOWAGE_TRY(s.layers, size("num_hidden_layers", "n_layer", 32, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"n_embed", "hidden_size"}, 4544, kWidthRange));
  STOWAGE_TRY(s.heads, size("num_attention_heads", "n_head", 71, kHeadRange));
  STOWAGE_TRY(s.kv_heads, size("num_kv_heads", "n_head_kv", s.heads, kHeadRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"ffn_hidden_size"}, 4 * s.hidden, {1, 4 * kWidthRange.most}));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 65024, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings"}, 2048, kPositionRange));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-5, Range<double>{0, 1}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.head_dim = s.hidden / s.heads;
  return OkStatus();
}

Status ReadLayout(const HfConfig& config, bool refined_web, FalconConfig& c) {
  TransformerShape& s = c.shape;
  // The published RefinedWeb code had a file for each layout; the one of 40b alone knew n_head_kv.
  STOWAGE_TRY(const bool new_layout, config.BoolOr("new_decoder_architecture", refined_web && config.Has("n_head_kv")));
  STOWAGE_TRY(const bool multi_query, config.BoolOr("multi_query", true));
  STOWAGE_TRY(c.parallel, config.BoolOr("parallel_attn", true));
  STOWAGE_TRY(const std::int64_t norms, ReadSize(config, {"num_ln_in_parallel_attn"}, new_layout ? 2 : 1, {0, 2}));
  c.two_norms = norms == 2;
  if (new_layout) {
    if (s.heads % s.kv_heads != 0) {
      return config.Bad("num_kv_heads", fmt::format("is {}, not a divisor of {} attention heads", s.kv_heads, s.heads));
    }
    c.qkv_rows = (s.heads + 2 * s.kv_heads) * s.head_dim;
    s.cached_heads = s.heads;
  } else if (multi_query) {
    s.kv_heads = 1;
    c.qkv_rows = s.hidden + 2 * s.head_dim;
  } else {
    s.kv_heads = s.heads;
    c.qkv_rows = 3 * s.hidden;
  }
  return OkStatus();
}

Result<FalconConfig> Read(const HfConfig& config) {
  FalconConfig c;
  STOWAGE_TRY(const std::string type, config.StringOr("model_type", "falcon"));
  STOWAGE_TRY(const std::string named,
              ReadClass(config, {"FalconForCausalLM", "FalconModel", "RWForCausalLM", "RWModel"}));
  c.model_only = named == "FalconModel" || named == "RWModel";
  STOWAGE_RETURN_IF_ERROR(ReadSizes(config, type != "falcon", c));
  STOWAGE_RETURN_IF_ERROR(ReadLayout(config, type != "falcon", c));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "activation", "gelu"));
  STOWAGE_TRY(c.bias, config.BoolOr("bias", false));
  STOWAGE_TRY(c.alibi, config.BoolOr("alibi", false));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", true));
  return c;
}

void AddLinear(ModuleTree& tree, std::string_view name, std::int64_t out, std::int64_t in, const FalconConfig& c) {
  tree.Enter(name, "FalconLinear");
  tree.Param("weight", {out, in}, c.dtype);
  if (c.bias) tree.Param("bias", {out}, c.dtype);
  tree.Leave();
}

void AddLayer(ModuleTree& tree, std::int64_t index, const FalconConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "FalconDecoderLayer");
  tree.Enter("self_attention", "FalconAttention");
  AddLinear(tree, "query_key_value", c.qkv_rows, h, c);
  AddLinear(tree, "dense", h, h, c);
  tree.Leaf("attention_dropout", "Dropout");
  tree.Leave();
  tree.Enter("mlp", "FalconMLP");
  AddLinear(tree, "dense_h_to_4h", c.shape.intermediate, h, c);
  tree.Leaf("act", c.activation);
  AddLinear(tree, "dense_4h_to_h", h, c.shape.intermediate, c);
  tree.Leave();
  if (!c.parallel) tree.LayerNorm("post_attention_layernorm", h, c.dtype);
  if (c.parallel && c.two_norms) {
    tree.LayerNorm("ln_attn", h, c.dtype);
    tree.LayerNorm("ln_mlp", h, c.dtype);
  } else {
    tree.LayerNorm("input_layernorm", h, c.dtype);
  }
  tree.Leave();
}

TensorId AddBody(ModuleTree& tree, const FalconConfig& c) {
  const TensorId table = tree.Embedding("word_embeddings", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Enter("h", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.LayerNorm("ln_f", c.shape.hidden, c.dtype);
  tree.Enter("rotary_emb", "FalconRotaryEmbedding");
  tree.Buffer("inv_freq", {(c.shape.head_dim + 1) / 2}, DType::kF32, /*persistent=*/false);
  tree.Buffer("original_inv_freq", {(c.shape.head_dim + 1) / 2}, DType::kF32, /*persistent=*/false);
  tree.Leave();
  return table;
}

}  // namespace

Result<Model> BuildFalcon(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const FalconConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "falcon";
  model.class_name = c.model_only ? "FalconModel" : "FalconForCausalLM";
  model.shape = c.shape;
  model.forward.alibi = c.alibi;
  model.forward.parallel = c.parallel;
  model.attention_bias = model.mlp_bias = c.bias;
  model.no_split_classes = {"FalconDecoderLayer"};
  ModuleTree tree(model);
  AddHeaded(tree,
            {.class_name = model.class_name,
             .base_class = "FalconModel",
             .vocab = c.shape.vocab,
             .hidden = c.shape.hidden,
             .dtype = c.dtype,
             .tied = c.tied},
            [&] { return AddBody(tree, c); });
  return model;
}

}  // namespace stowage

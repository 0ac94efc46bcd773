#include "planner/families/gpt_neox.h"

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

struct GptNeoXConfig {
  TransformerShape shape;
  std::int64_t frequencies = 0;  // of the rotary table
  DType dtype = DType::kF32;
  std::string activation;
  std::string class_name;
  bool attention_bias = true;
  bool parallel = true;
  bool tied = false;
};

Status ReadRope(const HfConfig& config, GptNeoXConfig& c) {
  const Range<double> part = {0, 1};
  STOWAGE_TRY(const double outer, config.NumberOr("rotary_pct", 0.25, part));
  STOWAGE_TRY(const HfConfig rope, config.ObjectOr(config.Has("rope_scaling") ? "rope_scaling" : "rope_parameters"));
  STOWAGE_TRY(const double partial, rope.NumberOr("partial_rotary_factor", outer, part));
  const auto dim = static_cast<std::int64_t>(static_cast<double>(c.shape.head_dim) * partial);
  c.frequencies = (dim + 1) / 2;
  STOWAGE_TRY(const double theta, config.NumberOr("rotary_emb_base", 10000, Range<double>{1e-3, 1e15}));
  STOWAGE_TRY(c.shape.rope_theta, rope.NumberOr("rope_theta", theta, Range<double>{1e-3, 1e15}));
  return OkStatus();
}

Result<GptNeoXConfig> Read(const HfConfig& config) {
  GptNeoXConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(c.class_name, ReadClass(config, {"GPTNeoXForCausalLM", "GPTNeoXModel"}));
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers"}, 44, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size"}, 6144, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"intermediate_size"}, 24576, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads"}, 64, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 50432, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings"}, 2048, kPositionRange));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_eps", 1e-5, Range<double>{0, 1}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  STOWAGE_RETURN_IF_ERROR(ReadRope(config, c));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "hidden_act", "gelu"));
  STOWAGE_TRY(c.attention_bias, config.BoolOr("attention_bias", true));
  STOWAGE_TRY(c.parallel, config.BoolOr("use_parallel_residual", true));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", false));
  return c;
}

void AddLayer(ModuleTree& tree, std::int64_t index, const GptNeoXConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "GPTNeoXLayer");
  tree.LayerNorm("input_layernorm", h, c.dtype);
  tree.LayerNorm("post_attention_layernorm", h, c.dtype);
  tree.Leaf("post_attention_dropout", "Dropout");
  tree.Leaf("post_mlp_dropout", "Dropout");
  tree.Enter("attention", "GPTNeoXAttention");
  tree.Linear("query_key_value", 3 * h, h, c.dtype, c.attention_bias);
  tree.Linear("dense", h, h, c.dtype, c.attention_bias);
  tree.Leave();
  tree.Enter("mlp", "GPTNeoXMLP");
  tree.Linear("dense_h_to_4h", c.shape.intermediate, h, c.dtype, true);
  tree.Linear("dense_4h_to_h", h, c.shape.intermediate, c.dtype, true);
  tree.Leaf("act", c.activation);
  tree.Leave();
  tree.Leave();
}

TensorId AddBody(ModuleTree& tree, const GptNeoXConfig& c) {
  const TensorId table = tree.Embedding("embed_in", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Leaf("emb_dropout", "Dropout");
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.LayerNorm("final_layer_norm", c.shape.hidden, c.dtype);
  tree.Enter("rotary_emb", "GPTNeoXRotaryEmbedding");
  tree.Buffer("inv_freq", {c.frequencies}, DType::kF32, /*persistent=*/false);
  tree.Buffer("original_inv_freq", {c.frequencies}, DType::kF32, /*persistent=*/false);
  tree.Leave();
  return table;
}

}  // namespace

Result<Model> BuildGptNeoX(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const GptNeoXConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "gpt_neox";
  model.class_name = c.class_name;
  model.shape = c.shape;
  model.forward.parallel = c.parallel;
  model.attention_bias = c.attention_bias;
  model.mlp_bias = true;
  model.no_split_classes = {"GPTNeoXLayer"};
  ModuleTree tree(model);
  tree.Enter("", c.class_name);
  if (c.class_name == "GPTNeoXModel") {
    AddBody(tree, c);
    return model;
  }
  tree.Enter("gpt_neox", "GPTNeoXModel");
  const TensorId table = AddBody(tree, c);
  tree.Leave();
  const TensorId head = tree.Embedding("lm_head", c.shape.vocab, c.shape.hidden, c.dtype, "Linear");
  if (c.tied) tree.Tie(table, head);
  return model;
}

}  // namespace stowage

#include "planner/families/opt.h"

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

constexpr std::int64_t kPositionOffset = 2;  // OPTLearnedPositionalEmbedding: rows before the first position

struct OptConfig {
  TransformerShape shape;
  std::int64_t embedding = 0;  // word_embed_proj_dim
  DType dtype = DType::kF32;
  std::string activation;
  std::string class_name;
  bool bias = true;
  bool affine_norms = true;
  bool norm_first = true;
  bool final_norm = true;
  bool tied = true;
};

Result<OptConfig> Read(const HfConfig& config) {
  OptConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(c.class_name, ReadClass(config, {"OPTForCausalLM", "OPTModel"}));
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers"}, 12, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size"}, 768, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"ffn_dim"}, 3072, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads"}, 12, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 50272, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings"}, 2048, kPositionRange));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  STOWAGE_TRY(c.embedding, ReadSize(config, {"word_embed_proj_dim"}, s.hidden, kWidthRange));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "activation_function", "relu"));
  STOWAGE_TRY(c.bias, config.BoolOr("enable_bias", true));
  STOWAGE_TRY(c.affine_norms, config.BoolOr("layer_norm_elementwise_affine", true));
  STOWAGE_TRY(c.norm_first, config.BoolOr("do_layer_norm_before", true));
  STOWAGE_TRY(const bool removed, config.BoolOr("_remove_final_layer_norm", false));
  c.final_norm = c.norm_first && !removed;
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", true));
  return c;
}

void AddLayer(ModuleTree& tree, std::int64_t index, const OptConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "OPTDecoderLayer");
  tree.Enter("self_attn", "OPTAttention");
  for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"}) tree.Linear(name, h, h, c.dtype, c.bias);
  tree.Leave();
  tree.Leaf("activation_fn", c.activation);
  tree.LayerNorm("self_attn_layer_norm", h, c.dtype, c.affine_norms);
  tree.Linear("fc1", c.shape.intermediate, h, c.dtype, c.bias);
  tree.Linear("fc2", h, c.shape.intermediate, c.dtype, c.bias);
  tree.LayerNorm("final_layer_norm", h, c.dtype, c.affine_norms);
  tree.Leave();
}

TensorId AddDecoder(ModuleTree& tree, const OptConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter("decoder", "OPTDecoder");
  const TensorId table = tree.Embedding("embed_tokens", c.shape.vocab, c.embedding, c.dtype);
  tree.Embedding("embed_positions", c.shape.max_positions + kPositionOffset, h, c.dtype,
                 "OPTLearnedPositionalEmbedding");
  if (c.embedding != h) {
    tree.Linear("project_out", c.embedding, h, c.dtype, false);
    tree.Linear("project_in", h, c.embedding, c.dtype, false);
  }
  if (c.final_norm) tree.LayerNorm("final_layer_norm", h, c.dtype, c.affine_norms);
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.Leave();
  return table;
}

}  // namespace

Result<Model> BuildOpt(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const OptConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "opt";
  model.class_name = c.class_name;
  model.shape = c.shape;
  model.forward.norm_first = c.norm_first;
  model.attention_bias = model.mlp_bias = c.bias;
  model.no_split_classes = {"OPTDecoderLayer"};
  ModuleTree tree(model);
  tree.Enter("", c.class_name);
  if (c.class_name == "OPTModel") {
    AddDecoder(tree, c);
    return model;
  }
  tree.Enter("model", "OPTModel");
  const TensorId table = AddDecoder(tree, c);
  tree.Leave();
  const TensorId head = tree.Embedding("lm_head", c.shape.vocab, c.embedding, c.dtype, "Linear");
  if (c.tied) tree.Tie(table, head);
  return model;
}

}  // namespace stowage

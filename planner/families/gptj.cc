#include "planner/families/gptj.h"

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

struct GptJConfig {
  TransformerShape shape;
  std::int64_t rotary_dim = 64;
  DType dtype = DType::kF32;
  std::string activation;
  std::string class_name;
  bool tied = false;
};

Result<GptJConfig> Read(const HfConfig& config) {
  GptJConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(c.class_name, ReadClass(config, {"GPTJForCausalLM", "GPTJModel"}));
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers", "n_layer"}, 28, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size", "n_embd"}, 4096, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"n_inner"}, 4 * s.hidden, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads", "n_head"}, 16, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 50400, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings", "n_positions"}, 2048, kPositionRange));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-5, Range<double>{0, 1}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  // transformers takes 0 as "the whole width": rotary_dim or embed_dim.
  STOWAGE_TRY(c.rotary_dim, ReadSize(config, {"rotary_dim"}, 64, {0, s.hidden}));
  if (c.rotary_dim == 0) c.rotary_dim = s.hidden;
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "activation_function", "gelu_new"));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", false));
  return c;
}

void AddBlock(ModuleTree& tree, std::int64_t index, const GptJConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "GPTJBlock");
  tree.LayerNorm("ln_1", h, c.dtype);
  tree.Enter("attn", "GPTJAttention");
  tree.Buffer("embed_positions", {c.shape.max_positions, c.rotary_dim}, DType::kF32, /*persistent=*/false);
  tree.Leaf("attn_dropout", "Dropout");
  tree.Leaf("resid_dropout", "Dropout");
  for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"}) tree.Linear(name, h, h, c.dtype, false);
  tree.Leave();
  tree.Enter("mlp", "GPTJMLP");
  tree.Linear("fc_in", c.shape.intermediate, h, c.dtype, true);
  tree.Linear("fc_out", h, c.shape.intermediate, c.dtype, true);
  tree.Leaf("act", c.activation);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  tree.Leave();
}

TensorId AddBody(ModuleTree& tree, const GptJConfig& c) {
  const TensorId table = tree.Embedding("wte", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Leaf("drop", "Dropout");
  tree.Enter("h", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddBlock(tree, i, c);
  tree.Leave();
  tree.LayerNorm("ln_f", c.shape.hidden, c.dtype);
  return table;
}

}  // namespace

Result<Model> BuildGptJ(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const GptJConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "gptj";
  model.class_name = c.class_name;
  model.shape = c.shape;
  model.forward.parallel = true;
  model.mlp_bias = true;
  model.no_split_classes = {"GPTJBlock"};
  ModuleTree tree(model);
  tree.Enter("", c.class_name);
  if (c.class_name == "GPTJModel") {
    AddBody(tree, c);
    return model;
  }
  tree.Enter("transformer", "GPTJModel");
  const TensorId table = AddBody(tree, c);
  tree.Leave();
  tree.Enter("lm_head", "Linear");
  const TensorId head = tree.Param("weight", {c.shape.vocab, c.shape.hidden}, c.dtype);
  tree.Param("bias", {c.shape.vocab}, c.dtype);
  tree.Leave();
  if (c.tied) tree.Tie(table, head);
  return model;
}

}  // namespace stowage

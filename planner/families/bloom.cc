#include "planner/families/bloom.h"

#include <utility>

#include "planner/families/headed.h"

namespace stowage {
namespace {

struct BloomConfig {
  TransformerShape shape;
  DType dtype = DType::kBF16;
  std::string class_name;
  bool tied = true;
  bool normed_residual = false;
};

Result<BloomConfig> Read(const HfConfig& config) {
  BloomConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(c.class_name, ReadClass(config, {"BloomForCausalLM", "BloomModel"}));
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers", "n_layer"}, 2, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"n_embed", "hidden_size"}, 64, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads", "n_head"}, 8, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 250880, kVocabRange));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-5, Range<double>{0, 1}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.intermediate = 4 * s.hidden;
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  s.max_positions = 2048;  // what it was trained with; alibi has no table that would limit it
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kBF16));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", true));
  STOWAGE_TRY(c.normed_residual, config.BoolOr("apply_residual_connection_post_layernorm", false));
  return c;
}

void AddBlock(ModuleTree& tree, std::int64_t index, const BloomConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "BloomBlock");
  tree.LayerNorm("input_layernorm", h, c.dtype);
  tree.Enter("self_attention", "BloomAttention");
  tree.Linear("query_key_value", 3 * h, h, c.dtype, true);
  tree.Linear("dense", h, h, c.dtype, true);
  tree.Leaf("attention_dropout", "Dropout");
  tree.Leave();
  tree.LayerNorm("post_attention_layernorm", h, c.dtype);
  tree.Enter("mlp", "BloomMLP");
  tree.Linear("dense_h_to_4h", c.shape.intermediate, h, c.dtype, true);
  tree.Leaf("gelu_impl", "BloomGelu");
  tree.Linear("dense_4h_to_h", h, c.shape.intermediate, c.dtype, true);
  tree.Leave();
  tree.Leave();
}

TensorId AddBody(ModuleTree& tree, const BloomConfig& c) {
  const TensorId table = tree.Embedding("word_embeddings", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.LayerNorm("word_embeddings_layernorm", c.shape.hidden, c.dtype);
  tree.Enter("h", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddBlock(tree, i, c);
  tree.Leave();
  tree.LayerNorm("ln_f", c.shape.hidden, c.dtype);
  return table;
}

}  // namespace

Result<Model> BuildBloom(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const BloomConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "bloom";
  model.class_name = c.class_name;
  model.shape = c.shape;
  model.forward.alibi = true;
  model.forward.normed_residual = c.normed_residual;
  model.attention_bias = model.mlp_bias = true;
  model.no_split_classes = {"BloomBlock"};
  ModuleTree tree(model);
  AddHeaded(tree,
            {.class_name = model.class_name,
             .base_class = "BloomModel",
             .vocab = c.shape.vocab,
             .hidden = c.shape.hidden,
             .dtype = c.dtype,
             .tied = c.tied},
            [&] { return AddBody(tree, c); });
  return model;
}

}  // namespace stowage

#include "planner/families/bert.h"

#include <fmt/format.h>

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

struct BertConfig {
  TransformerShape shape;
  std::int64_t types = 2;
  DType dtype = DType::kF32;
  std::string activation;
};

Result<BertConfig> Read(const HfConfig& config) {
  BertConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers"}, 12, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size"}, 768, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"intermediate_size"}, 3072, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads"}, 12, kHeadRange));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 30522, kVocabRange));
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_position_embeddings"}, 512, kPositionRange));
  STOWAGE_TRY(c.types, ReadSize(config, {"type_vocab_size"}, 2, {1, 1 << 16}));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = 0;  // an encoder caches nothing
  s.head_dim = s.hidden / s.heads;
  STOWAGE_TRY(const bool cross, config.BoolOr("add_cross_attention", false));
  if (cross) return config.Bad("add_cross_attention", "is true, only encoders are supported");
  STOWAGE_TRY(const bool decoder, config.BoolOr("is_decoder", false));
  if (decoder) return config.Bad("is_decoder", "is true, only encoders are supported");
  STOWAGE_TRY(const std::int64_t chunk, ReadSize(config, {"chunk_size_feed_forward"}, 0, {0, kPositionRange.most}));
  if (chunk != 0) {
    return config.Bad("chunk_size_feed_forward",
                      fmt::format("is {}, only 0, the MLP in one piece, is supported", chunk));
  }
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "hidden_act", "gelu"));
  return c;
}

// BertSelfOutput and BertOutput: dense, LayerNorm, dropout.
void AddOutput(ModuleTree& tree, std::string class_name, std::int64_t in, const BertConfig& c) {
  tree.Enter("output", std::move(class_name));
  tree.Linear("dense", c.shape.hidden, in, c.dtype, true);
  tree.LayerNorm("LayerNorm", c.shape.hidden, c.dtype);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

void AddLayer(ModuleTree& tree, std::int64_t index, const BertConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "BertLayer");
  tree.Enter("attention", "BertAttention");
  tree.Enter("self", "BertSelfAttention");
  for (const char* name : {"query", "key", "value"}) tree.Linear(name, h, h, c.dtype, true);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  AddOutput(tree, "BertSelfOutput", h, c);
  tree.Leave();
  tree.Enter("intermediate", "BertIntermediate");
  tree.Linear("dense", c.shape.intermediate, h, c.dtype, true);
  tree.Leaf("intermediate_act_fn", c.activation);
  tree.Leave();
  AddOutput(tree, "BertOutput", c.shape.intermediate, c);
  tree.Leave();
}

}  // namespace

Result<Model> BuildBert(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const BertConfig c, Read(config));
  const std::int64_t h = c.shape.hidden;
  const std::int64_t positions = c.shape.max_positions;
  Model model;
  model.name = std::move(name);
  model.family = "bert";
  model.class_name = "BertModel";
  model.shape = c.shape;
  model.attention_bias = model.mlp_bias = true;
  model.no_split_classes = {"BertEmbeddings", "BertLayer"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  tree.Enter("embeddings", "BertEmbeddings");
  tree.Buffer("position_ids", {1, positions}, DType::kI64, /*persistent=*/false);
  tree.Buffer("token_type_ids", {1, positions}, DType::kI64, /*persistent=*/false);
  tree.Embedding("word_embeddings", c.shape.vocab, h, c.dtype);
  tree.Embedding("position_embeddings", positions, h, c.dtype);
  tree.Embedding("token_type_embeddings", c.types, h, c.dtype);
  tree.LayerNorm("LayerNorm", h, c.dtype);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  tree.Enter("encoder", "BertEncoder");
  tree.Enter("layer", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddLayer(tree, i, c);
  tree.Leave();
  tree.Leave();
  tree.Enter("pooler", "BertPooler");
  tree.Linear("dense", h, h, c.dtype, true);
  tree.Leaf("activation", "Tanh");
  tree.Leave();
  return model;
}

}  // namespace stowage

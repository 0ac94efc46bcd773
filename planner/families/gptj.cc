#include "planner/families/gptj.h"

#include <utility>

#include "planner/families/headed.h"

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
  STOWAGE_TRY(c.class_name, ReadClass(config, {"GPTJForCausalLM", "GPTJModel"}));
  STOWAGE_TRY(c.shape,
              ReadGptShape(config, {.layers = 28, .hidden = 4096, .heads = 16, .vocab = 50400, .positions = 2048}));
  // transformers takes 0 as "the whole width": rotary_dim or embed_dim.
  STOWAGE_TRY(c.rotary_dim, ReadSize(config, {"rotary_dim"}, 64, {0, c.shape.hidden}));
  if (c.rotary_dim == 0) c.rotary_dim = c.shape.hidden;
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
  AddHeaded(tree,
            {.class_name = model.class_name,
             .base_class = "GPTJModel",
             .vocab = c.shape.vocab,
             .hidden = c.shape.hidden,
             .dtype = c.dtype,
             .head_bias = true,
             .tied = c.tied},
            [&] { return AddBody(tree, c); });
  return model;
}

}  // namespace stowage

#include "planner/families/gpt2.h"

#include <utility>

#include "planner/families/headed.h"

namespace stowage {
namespace {

struct Gpt2Config {
  TransformerShape shape;
  DType dtype = DType::kF32;
  std::string activation;
  std::string class_name;
  bool cross_attention = false;
  bool tied = true;
};

Result<Gpt2Config> Read(const HfConfig& config) {
  Gpt2Config c;
  STOWAGE_TRY(c.class_name, ReadClass(config, {"GPT2LMHeadModel", "GPT2Model"}));
  STOWAGE_TRY(c.shape,
              ReadGptShape(config, {.layers = 12, .hidden = 768, .heads = 12, .vocab = 50257, .positions = 1024}));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "activation_function", "gelu_new"));
  STOWAGE_TRY(c.cross_attention, config.BoolOr("add_cross_attention", false));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", true));
  return c;
}

void AddConv1D(ModuleTree& tree, std::string_view name, std::int64_t in, std::int64_t out, DType dtype) {
  tree.Enter(name, "Conv1D");
  tree.Param("weight", {in, out}, dtype);
  tree.Param("bias", {out}, dtype);
  tree.Leave();
}

void AddAttention(ModuleTree& tree, const Gpt2Config& c, bool cross) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(cross ? "crossattention" : "attn", "GPT2Attention");
  AddConv1D(tree, "c_attn", h, cross ? 2 * h : 3 * h, c.dtype);
  if (cross) AddConv1D(tree, "q_attn", h, h, c.dtype);
  AddConv1D(tree, "c_proj", h, h, c.dtype);
  tree.Leaf("attn_dropout", "Dropout");
  tree.Leaf("resid_dropout", "Dropout");
  tree.Leave();
}

void AddBlock(ModuleTree& tree, std::int64_t index, const Gpt2Config& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(std::to_string(index), "GPT2Block");
  tree.LayerNorm("ln_1", h, c.dtype);
  AddAttention(tree, c, /*cross=*/false);
  tree.LayerNorm("ln_2", h, c.dtype);
  if (c.cross_attention) {
    AddAttention(tree, c, /*cross=*/true);
    tree.LayerNorm("ln_cross_attn", h, c.dtype);
  }
  tree.Enter("mlp", "GPT2MLP");
  AddConv1D(tree, "c_fc", h, c.shape.intermediate, c.dtype);
  AddConv1D(tree, "c_proj", c.shape.intermediate, h, c.dtype);
  tree.Leaf("act", c.activation);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
  tree.Leave();
}

TensorId AddBody(ModuleTree& tree, const Gpt2Config& c) {
  const TensorId table = tree.Embedding("wte", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Embedding("wpe", c.shape.max_positions, c.shape.hidden, c.dtype);
  tree.Leaf("drop", "Dropout");
  tree.Enter("h", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) AddBlock(tree, i, c);
  tree.Leave();
  tree.LayerNorm("ln_f", c.shape.hidden, c.dtype);
  return table;
}

}  // namespace

Result<Model> BuildGpt2(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const Gpt2Config c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "gpt2";
  model.class_name = c.class_name;
  model.shape = c.shape;
  model.attention_bias = model.mlp_bias = true;
  model.no_split_classes = {"GPT2Block"};
  ModuleTree tree(model);
  AddHeaded(tree,
            {.class_name = model.class_name,
             .base_class = "GPT2Model",
             .vocab = c.shape.vocab,
             .hidden = c.shape.hidden,
             .dtype = c.dtype,
             .tied = c.tied},
            [&] { return AddBody(tree, c); });
  return model;
}

}  // namespace stowage

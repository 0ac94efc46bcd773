#include "planner/families/t5.h"

#include <fmt/format.h>

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

struct T5Config {
  std::string family;
  std::string prefix;  // of the class names
  TransformerShape shape;
  std::int64_t buckets = 32;
  DType dtype = DType::kF32;
  bool gated = false;
  bool bias_in_every_block = false;
  std::string activation;
};

// transformers splits feed_forward_proj at dashes: the last part is the activation, a first part "gated" gates.
Status ReadFeedForward(const HfConfig& config, T5Config& c) {
  STOWAGE_TRY(const std::string given, config.StringOr("feed_forward_proj", ""));
  const std::string proj = !given.empty() ? given : c.family == "t5" ? "relu" : "gated-gelu";
  c.gated = proj.starts_with("gated-");
  std::string act = proj.substr(proj.rfind('-') + 1);
  if (proj == "gated-gelu") act = "gelu_new";
  // Saved beside it, and decisive for files that hold only these.
  if (given.empty()) {
    STOWAGE_TRY(c.gated, config.BoolOr("is_gated_act", c.gated));
    STOWAGE_TRY(act, config.StringOr("dense_act_fn", act));
  }
  c.activation = ActivationClass(act);
  if (!c.activation.empty()) return OkStatus();
  return config.Bad(given.empty() ? "dense_act_fn" : "feed_forward_proj",
                    fmt::format("is \"{}\", whose activation is not known here", given.empty() ? act : given));
}

Result<T5Config> Read(const HfConfig& config) {
  T5Config c;
  STOWAGE_TRY(c.family, config.String("model_type"));
  const bool first = c.family == "t5";
  c.prefix = first ? "T5" : c.family == "mt5" ? "MT5" : "UMT5";
  c.bias_in_every_block = c.family == "umt5";
  TransformerShape& s = c.shape;
  STOWAGE_TRY(const std::string named,
              ReadClass(config, {"T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel", "T5ForConditionalGeneration",
                                 "MT5ForConditionalGeneration", "UMT5ForConditionalGeneration", "T5WithLMHeadModel",
                                 "T5Model", "MT5Model", "UMT5Model"}));
  STOWAGE_TRY(s.layers, ReadSize(config, {"num_hidden_layers", "num_layers"}, first ? 6 : 8, kLayerRange));
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size", "d_model"}, 512, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"d_ff"}, first ? 2048 : 1024, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads", "num_heads"}, first ? 8 : 6, kHeadRange));
  STOWAGE_TRY(s.head_dim, ReadSize(config, {"head_dim", "d_kv"}, 64, {1, 1 << 14}));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, first ? 32128 : 250112, kVocabRange));
  STOWAGE_TRY(c.buckets, ReadSize(config, {"relative_attention_num_buckets"}, 32, {1, 1 << 16}));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-6, Range<double>{0, 1}));
  s.kv_heads = 0;  // an encoder caches nothing
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_RETURN_IF_ERROR(ReadFeedForward(config, c));
  return c;
}

void AddNorm(ModuleTree& tree, std::string_view name, const T5Config& c) {
  tree.Enter(name, c.prefix + "LayerNorm");
  tree.Param("weight", {c.shape.hidden}, c.dtype);
  tree.Leave();
}

void AddAttention(ModuleTree& tree, const T5Config& c, bool bias_table) {
  const std::int64_t inner = c.shape.heads * c.shape.head_dim;
  tree.Enter("0", c.prefix + "LayerSelfAttention");
  tree.Enter("SelfAttention", c.prefix + "Attention");
  for (const char* name : {"q", "k", "v"}) tree.Linear(name, inner, c.shape.hidden, c.dtype, false);
  tree.Linear("o", c.shape.hidden, inner, c.dtype, false);
  if (bias_table) tree.Embedding("relative_attention_bias", c.buckets, c.shape.heads, c.dtype);
  tree.Leave();
  AddNorm(tree, "layer_norm", c);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

void AddFeedForward(ModuleTree& tree, const T5Config& c) {
  tree.Enter("1", c.prefix + "LayerFF");
  tree.Enter("DenseReluDense", c.prefix + (c.gated ? "DenseGatedActDense" : "DenseActDense"));
  if (c.gated) {
    tree.Linear("wi_0", c.shape.intermediate, c.shape.hidden, c.dtype, false);
    tree.Linear("wi_1", c.shape.intermediate, c.shape.hidden, c.dtype, false);
  } else {
    tree.Linear("wi", c.shape.intermediate, c.shape.hidden, c.dtype, false);
  }
  tree.Linear("wo", c.shape.hidden, c.shape.intermediate, c.dtype, false);
  tree.Leaf("dropout", "Dropout");
  tree.Leaf("act", c.activation);
  tree.Leave();
  AddNorm(tree, "layer_norm", c);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

}  // namespace

Result<Model> BuildT5Encoder(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const T5Config c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = c.family;
  model.class_name = c.prefix + "EncoderModel";
  model.shape = c.shape;
  model.no_split_classes = {c.prefix + "Block"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  const TensorId shared = tree.Embedding("shared", c.shape.vocab, c.shape.hidden, c.dtype);
  tree.Enter("encoder", c.prefix + "Stack");
  tree.Tie(shared, tree.Embedding("embed_tokens", c.shape.vocab, c.shape.hidden, c.dtype));
  tree.Enter("block", "ModuleList");
  for (std::int64_t i = 0; i < c.shape.layers; ++i) {
    tree.Enter(std::to_string(i), c.prefix + "Block");
    tree.Enter("layer", "ModuleList");
    AddAttention(tree, c, i == 0 || c.bias_in_every_block);
    AddFeedForward(tree, c);
    tree.Leave();
    tree.Leave();
  }
  tree.Leave();
  AddNorm(tree, "final_layer_norm", c);
  tree.Leaf("dropout", "Dropout");
  return model;
}

}  // namespace stowage

#include "planner/families/t5.h"

#include <fmt/format.h>

#include <cmath>
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
  std::int64_t encoder_layers = 6;
  DType dtype = DType::kF32;
  bool gated = false;
  bool decoder = false;
  bool head = false;
  bool scaled = false;    // the decoder's result, before the head
  bool own_head = false;  // tie_word_embeddings is false
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

// T5's older name for its class with a head.
Status ReadParts(const HfConfig& config, T5Config& c) {
  STOWAGE_TRY(const std::string named,
              ReadClass(config, {"T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel", "T5ForConditionalGeneration",
                                 "MT5ForConditionalGeneration", "UMT5ForConditionalGeneration", "T5WithLMHeadModel",
                                 "T5Model", "MT5Model", "UMT5Model"}));
  c.decoder = !named.ends_with("EncoderModel");
  c.head = named.ends_with("ForConditionalGeneration") || named == "T5WithLMHeadModel";
  STOWAGE_TRY(const bool tied, config.BoolOr("tie_word_embeddings", true));
  c.own_head = c.head && !tied;
  c.scaled = c.head && (c.family == "umt5" || (c.family == "t5" && tied));
  return OkStatus();
}

Result<T5Config> Read(const HfConfig& config) {
  T5Config c;
  STOWAGE_TRY(c.family, config.String("model_type"));
  const bool first = c.family == "t5";
  c.prefix = first ? "T5" : c.family == "mt5" ? "MT5" : "UMT5";
  c.bias_in_every_block = c.family == "umt5";
  STOWAGE_RETURN_IF_ERROR(ReadParts(config, c));
  TransformerShape& s = c.shape;
  STOWAGE_TRY(c.encoder_layers, ReadSize(config, {"num_hidden_layers", "num_layers"}, first ? 6 : 8, kLayerRange));
  s.layers = c.encoder_layers;
  if (c.decoder) {
    STOWAGE_TRY(s.layers, ReadSize(config, {"num_decoder_layers"}, c.encoder_layers, kLayerRange));
  }
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size", "d_model"}, 512, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"d_ff"}, first ? 2048 : 1024, kWidthRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"num_attention_heads", "num_heads"}, first ? 8 : 6, kHeadRange));
  STOWAGE_TRY(s.head_dim, ReadSize(config, {"head_dim", "d_kv"}, 64, {1, 1 << 14}));
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, first ? 32128 : 250112, kVocabRange));
  STOWAGE_TRY(c.buckets, ReadSize(config, {"relative_attention_num_buckets"}, 32, {1, 1 << 16}));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("layer_norm_epsilon", 1e-6, Range<double>{0, 1}));
  s.kv_heads = c.decoder ? s.heads : 0;  // an encoder caches nothing
  s.cross_positions = c.decoder ? 1 : 0;
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_RETURN_IF_ERROR(ReadFeedForward(config, c));
  return c;
}

void AddNorm(ModuleTree& tree, std::string_view name, const T5Config& c) {
  tree.Enter(name, c.prefix + "LayerNorm");
  tree.Param("weight", {c.shape.hidden}, c.dtype);
  tree.Leave();
}

void AddAttention(ModuleTree& tree, const T5Config& c, bool cross, bool bias_table) {
  const std::int64_t inner = c.shape.heads * c.shape.head_dim;
  tree.Enter(cross ? "1" : "0", c.prefix + (cross ? "LayerCrossAttention" : "LayerSelfAttention"));
  tree.Enter(cross ? "EncDecAttention" : "SelfAttention", c.prefix + "Attention");
  for (const char* name : {"q", "k", "v"}) tree.Linear(name, inner, c.shape.hidden, c.dtype, false);
  tree.Linear("o", c.shape.hidden, inner, c.dtype, false);
  if (bias_table) tree.Embedding("relative_attention_bias", c.buckets, c.shape.heads, c.dtype);
  tree.Leave();
  AddNorm(tree, "layer_norm", c);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

void AddFeedForward(ModuleTree& tree, const T5Config& c, bool decoder) {
  tree.Enter(decoder ? "2" : "1", c.prefix + "LayerFF");
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

void AddStack(ModuleTree& tree, const T5Config& c, bool decoder, TensorId shared) {
  tree.Enter(decoder ? "decoder" : "encoder", c.prefix + "Stack");
  tree.Tie(shared, tree.Embedding("embed_tokens", c.shape.vocab, c.shape.hidden, c.dtype));
  tree.Enter("block", "ModuleList");
  const std::int64_t blocks = decoder ? c.shape.layers : c.encoder_layers;
  for (std::int64_t i = 0; i < blocks; ++i) {
    tree.Enter(std::to_string(i), c.prefix + "Block");
    tree.Enter("layer", "ModuleList");
    AddAttention(tree, c, /*cross=*/false, i == 0 || c.bias_in_every_block);
    if (decoder) AddAttention(tree, c, /*cross=*/true, false);
    AddFeedForward(tree, c, decoder);
    tree.Leave();
    tree.Leave();
  }
  tree.Leave();
  AddNorm(tree, "final_layer_norm", c);
  tree.Leaf("dropout", "Dropout");
  tree.Leave();
}

}  // namespace

Result<Model> BuildT5(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const T5Config c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = c.family;
  model.class_name = c.prefix + (c.head ? "ForConditionalGeneration" : c.decoder ? "Model" : "EncoderModel");
  model.shape = c.shape;
  if (c.scaled) model.forward.logit_scale = 1 / std::sqrt(static_cast<double>(c.shape.hidden));
  model.forward.own_head_in_files = c.own_head;
  model.no_split_classes = {c.prefix + "Block"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  const TensorId shared = tree.Embedding("shared", c.shape.vocab, c.shape.hidden, c.dtype);
  AddStack(tree, c, /*decoder=*/false, shared);
  if (c.decoder) AddStack(tree, c, /*decoder=*/true, shared);
  if (c.head) tree.Tie(shared, tree.Embedding("lm_head", c.shape.vocab, c.shape.hidden, c.dtype, "Linear"));
  return model;
}

}  // namespace stowage

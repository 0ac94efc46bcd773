#include "planner/families/whisper.h"

#include <utility>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {
namespace {

constexpr std::int64_t kEnglishVocab = 51864;  // of the models that know no other language (tiny.en)

struct WhisperConfig {
  TransformerShape shape;  // of the decoder
  std::int64_t encoder_layers = 4;
  std::int64_t encoder_heads = 6;
  std::int64_t encoder_intermediate = 1536;
  std::int64_t mel_bins = 80;
  std::int64_t source_positions = 1500;
  DType dtype = DType::kF32;
  std::string activation;
  bool head = true;
  bool tied = true;
};

Result<WhisperConfig> Read(const HfConfig& config) {
  WhisperConfig c;
  TransformerShape& s = c.shape;
  STOWAGE_TRY(const std::string named, ReadClass(config, {"WhisperForConditionalGeneration", "WhisperModel"}));
  c.head = named == "WhisperForConditionalGeneration";
  STOWAGE_TRY(s.hidden, ReadSize(config, {"hidden_size", "d_model"}, 384, kWidthRange));
  STOWAGE_TRY(c.encoder_layers, ReadSize(config, {"num_hidden_layers", "encoder_layers"}, 4, kLayerRange));
  STOWAGE_TRY(s.layers, ReadSize(config, {"decoder_layers"}, 4, kLayerRange));
  STOWAGE_TRY(c.encoder_intermediate, ReadSize(config, {"encoder_ffn_dim"}, 1536, kWidthRange));
  STOWAGE_TRY(s.intermediate, ReadSize(config, {"decoder_ffn_dim"}, 1536, kWidthRange));
  STOWAGE_TRY(c.encoder_heads, ReadSize(config, {"encoder_attention_heads"}, 6, kHeadRange));
  STOWAGE_TRY(s.heads, ReadSize(config, {"decoder_attention_heads"}, 6, kHeadRange));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, c.encoder_heads));
  STOWAGE_RETURN_IF_ERROR(CheckHeads(config, s.hidden, s.heads));
  s.kv_heads = s.heads;
  s.head_dim = s.hidden / s.heads;
  STOWAGE_TRY(s.vocab, ReadSize(config, {"vocab_size"}, 51865, kVocabRange));
  STOWAGE_TRY(c.mel_bins, ReadSize(config, {"num_mel_bins"}, 80, {1, 1 << 16}));
  STOWAGE_TRY(c.source_positions, ReadSize(config, {"max_source_positions"}, 1500, kPositionRange));
  s.cross_positions = c.source_positions;
  STOWAGE_TRY(s.max_positions, ReadSize(config, {"max_target_positions"}, 448, kPositionRange));
  STOWAGE_TRY(c.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(c.activation, ReadActivation(config, "activation_function", "gelu"));
  STOWAGE_TRY(c.tied, config.BoolOr("tie_word_embeddings", true));
  return c;
}

void AddAttention(ModuleTree& tree, std::string_view name, const WhisperConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter(name, "WhisperAttention");
  tree.Linear("k_proj", h, h, c.dtype, false);
  for (const char* part : {"v_proj", "q_proj", "out_proj"}) tree.Linear(part, h, h, c.dtype, true);
  tree.Leave();
}

void AddLayer(ModuleTree& tree, std::int64_t index, bool decoder, const WhisperConfig& c) {
  const std::int64_t h = c.shape.hidden;
  const std::int64_t inner = decoder ? c.shape.intermediate : c.encoder_intermediate;
  tree.Enter(std::to_string(index), decoder ? "WhisperDecoderLayer" : "WhisperEncoderLayer");
  AddAttention(tree, "self_attn", c);
  if (decoder) {
    tree.Leaf("activation_fn", c.activation);
    tree.LayerNorm("self_attn_layer_norm", h, c.dtype);
    AddAttention(tree, "encoder_attn", c);
    tree.LayerNorm("encoder_attn_layer_norm", h, c.dtype);
  } else {
    tree.LayerNorm("self_attn_layer_norm", h, c.dtype);
    tree.Leaf("activation_fn", c.activation);
  }
  tree.Linear("fc1", inner, h, c.dtype, true);
  tree.Linear("fc2", h, inner, c.dtype, true);
  tree.LayerNorm("final_layer_norm", h, c.dtype);
  tree.Leave();
}

void AddConv(ModuleTree& tree, std::string_view name, std::int64_t in, const WhisperConfig& c) {
  tree.Enter(name, "Conv1d");
  tree.Param("weight", {c.shape.hidden, in, 3}, c.dtype);
  tree.Param("bias", {c.shape.hidden}, c.dtype);
  tree.Leave();
}

void AddLayers(ModuleTree& tree, std::int64_t layers, bool decoder, const WhisperConfig& c) {
  tree.Enter("layers", "ModuleList");
  for (std::int64_t i = 0; i < layers; ++i) AddLayer(tree, i, decoder, c);
  tree.Leave();
  tree.LayerNorm("layer_norm", c.shape.hidden, c.dtype);
}

TensorId AddBody(ModuleTree& tree, const WhisperConfig& c) {
  const std::int64_t h = c.shape.hidden;
  tree.Enter("encoder", "WhisperEncoder");
  AddConv(tree, "conv1", c.mel_bins, c);
  AddConv(tree, "conv2", h, c);
  tree.Embedding("embed_positions", c.source_positions, h, c.dtype);
  AddLayers(tree, c.encoder_layers, /*decoder=*/false, c);
  tree.Leave();
  tree.Enter("decoder", "WhisperDecoder");
  const TensorId table = tree.Embedding("embed_tokens", c.shape.vocab, h, c.dtype);
  tree.Embedding("embed_positions", c.shape.max_positions, h, c.dtype, "WhisperPositionalEmbedding");
  AddLayers(tree, c.shape.layers, /*decoder=*/true, c);
  tree.Leave();
  return table;
}

}  // namespace

Result<Model> BuildWhisper(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const WhisperConfig c, Read(config));
  Model model;
  model.name = std::move(name);
  model.family = "whisper";
  model.class_name = c.head ? "WhisperForConditionalGeneration" : "WhisperModel";
  model.shape = c.shape;
  model.forward.encoder_heads = c.encoder_heads;
  model.forward.forced_tokens = c.shape.vocab == kEnglishVocab ? 2 : 4;
  model.attention_bias = model.mlp_bias = true;
  model.no_split_classes = {"WhisperDecoderLayer", "WhisperEncoderLayer"};
  ModuleTree tree(model);
  tree.Enter("", model.class_name);
  if (!c.head) {
    AddBody(tree, c);
    return model;
  }
  tree.Enter("model", "WhisperModel");
  const TensorId table = AddBody(tree, c);
  tree.Leave();
  const TensorId head = tree.Embedding("proj_out", c.shape.vocab, c.shape.hidden, c.dtype, "Linear");
  if (c.tied) tree.Tie(table, head);
  return model;
}

}  // namespace stowage

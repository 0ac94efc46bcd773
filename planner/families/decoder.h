// What the decoder-only families beyond llama share: the common fields of config.json with the class defaults of
// transformers 5.23, and the frame of the module tree. Each family's own file gives its defaults and its layer.
//
//   <Causal>                                        e.g. MistralForCausalLM
//   |- model <Body>                                 (checkpoints of <Body> alone: no "model." prefix and no head)
//   |  |- embed_tokens                              weight [V, h]
//   |  |- layers ModuleList
//   |  |  `- i <Prefix>DecoderLayer                 the no-split block: the family's LayerFunction
//   |  |- norm                                      [h]
//   |  `- rotary_emb                                fp32 buffers, in no checkpoint
//   `- lm_head Linear                               weight [V, h], shares embed_tokens' when tied
//
// Trees, names, shapes and dtypes are those of the checkpoint. transformers 5 stacks the experts of a layer into one or
// two parameters when it loads them; the files, and so a Model, have one module per expert.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

// Class defaults of a family's config class, for keys that are absent.
struct DecoderDefaults {
  std::int64_t layers, hidden, intermediate, heads;
  std::int64_t kv_heads;  // 0: as many as heads
  std::int64_t head_dim;  // 0: hidden / heads
  std::int64_t vocab, max_positions;
  double norm_eps, rope_theta;
  bool tied = false;
  const char* activation = "silu";
};

// Block-wise fp8 of quantization_config: every Linear but the head and `skip` stores F8_E4M3 with a scale per block.
struct Fp8 {
  std::int64_t rows = 128;  // weight_block_size
  std::int64_t columns = 128;
  std::vector<std::string> skip;  // modules_to_not_convert
};

struct DecoderConfig {
  std::string family;       // model_type; in a text_config without one, the prefix
  std::string prefix;       // of the class names: "Mistral"
  std::string class_infix;  // "Text" in Llama4TextDecoderLayer
  std::string body;         // class without the head: "MistralModel"
  TransformerShape shape;
  RopeScaling rope;
  ForwardFacts forward;
  std::int64_t rotary_dims = 0;  // head_dim, or the part of it that is rotated
  DType dtype = DType::kF32;
  bool tied = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool head = true;               // <Prefix>ForCausalLM; false: <body>
  std::string activation;         // class: "SiLUActivation"
  std::string norm_class;         // default <Prefix>RMSNorm
  bool norm_bias = false;         // LayerNorm with a bias
  bool scaled_embedding = false;  // gemma: <Prefix>TextScaledWordEmbedding with a buffer embed_scale
  std::optional<Fp8> fp8;
  DType fp8_scale = DType::kF32;
};

// Reads the shared fields in both spellings. `prefix` and `body` are class names; messages start with config.where().
Result<DecoderConfig> ReadDecoderConfig(const HfConfig& config, const DecoderDefaults& defaults, std::string prefix,
                                        std::string body);

// A size that null turns off: absent gives the default, null gives 0.
Result<std::int64_t> ReadNullable(const HfConfig& config, std::string_view key, std::int64_t absent);

// layer_types, or else `otherwise(layer)` for "this layer slides", as TransformerShape::windows. `window` 0: none slide.
Status ReadWindows(const HfConfig& config, std::int64_t window, const std::function<bool(std::int64_t)>& otherwise,
                   TransformerShape& shape);
bool EveryLayer(std::int64_t layer);  // for `otherwise`: true

// no_rope_layers (0: none in this layer), or else none at the end of each group of no_rope_layer_interval.
Result<std::vector<bool>> ReadRotatingLayers(const HfConfig& config, std::int64_t layers);

// gemma: 1 / sqrt(query_pre_attn_scalar).
Result<double> ReadScoreScale(const HfConfig& config);

// A cap that null turns off.
Result<double> ReadSoftcap(const HfConfig& config, std::string_view key, double absent);

// qwen2, qwen3: with use_sliding_window, the layers from max_window_layers on slide.
Status ReadQwenWindows(const HfConfig& config, TransformerShape& shape);

inline constexpr Range<std::int64_t> kSizes = {1, 1 << 20};
inline constexpr Range<std::int64_t> kExperts = {0, 1 << 12};
inline constexpr std::int64_t kMaxExperts = 1 << 17;  // over all layers; keeps sums of sizes inside 64 bits

// A module tree with the config at hand.
class DecoderTree {
 public:
  DecoderTree(Model& model, const DecoderConfig& config) : c(config), s(config.shape), tree(model), model_(model) {}

  void Norm(std::string_view name, Shape shape);
  // fp8-aware nn.Linear.
  void Linear(std::string_view name, std::int64_t out, std::int64_t in, bool bias = false);
  // q_proj, k_proj, v_proj, o_proj, inside an entered self_attn.
  void Projections(bool qkv_bias, bool o_bias);
  // gate_proj, up_proj, down_proj and the activation.
  void GatedMlp(std::string_view name, std::string class_name, std::int64_t intermediate,
                std::string_view activation = "act_fn");
  // `count` modules of GatedMlp's kind in a ModuleList "experts".
  void Experts(const std::string& class_name, std::int64_t count, std::int64_t intermediate);
  void Router(std::string_view name, std::string class_name);  // weight [experts, h], never quantized

  Model& model() { return model_; }

  const DecoderConfig& c;
  const TransformerShape& s;
  ModuleTree tree;

 private:
  Model& model_;
};

using LayerFunction = std::function<void(DecoderTree& t, std::int64_t layer)>;  // inside an entered layers.i

// kInvalidInput when a tree of `shape` would be too large; `where` starts the message.
Status CheckExperts(const TransformerShape& shape, const std::string& where);

// The children of a causal model (or, without a head, of its body) in the module entered last.
void AddDecoder(DecoderTree& t, const LayerFunction& layer);

// The whole model, after CheckExperts.
Result<Model> BuildDecoder(const DecoderConfig& config, const LayerFunction& layer, std::string name,
                           const std::string& where);

}  // namespace stowage

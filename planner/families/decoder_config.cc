#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "planner/families/decoder.h"

namespace stowage {
namespace {

constexpr Range<std::int64_t> kLayers = {1, 10'000};
constexpr Range<std::int64_t> kHeads = {1, 1 << 14};
constexpr Range<std::int64_t> kVocab = {1, 1 << 24};
constexpr Range<std::int64_t> kPositions = {1, std::int64_t{1} << 31};
constexpr Range<double> kEps = {0, 1};
constexpr Range<double> kTheta = {1e-3, 1e15};
constexpr Range<double> kFactor = {1e-3, 1e6};

Status ReadShape(const HfConfig& config, const DecoderDefaults& d, TransformerShape& s) {
  STOWAGE_TRY(s.layers, config.IntOr("num_hidden_layers", d.layers, kLayers));
  STOWAGE_TRY(s.hidden, config.IntOr("hidden_size", d.hidden, kSizes));
  STOWAGE_TRY(s.intermediate, config.IntOr("intermediate_size", d.intermediate, kSizes));
  STOWAGE_TRY(s.heads, config.IntOr("num_attention_heads", d.heads, kHeads));
  const bool as_heads = d.kv_heads == 0 || config.IsNull("num_key_value_heads");
  STOWAGE_TRY(s.kv_heads, config.IntOr("num_key_value_heads", as_heads ? s.heads : d.kv_heads, kHeads));
  if (d.head_dim > 0 && !config.IsNull("head_dim")) {
    STOWAGE_TRY(s.head_dim, config.IntOr("head_dim", d.head_dim, kSizes));
  } else {
    STOWAGE_TRY(s.head_dim, config.IntOr("head_dim", s.hidden / s.heads, kSizes));
    if (s.head_dim == 0) {
      return config.Bad("num_attention_heads", fmt::format("is {}, above hidden_size {}", s.heads, s.hidden));
    }
  }
  STOWAGE_TRY(s.vocab, config.IntOr("vocab_size", d.vocab, kVocab));
  STOWAGE_TRY(s.max_positions, config.IntOr("max_position_embeddings", d.max_positions, kPositions));
  const char* eps = config.Has("norm_epsilon")     ? "norm_epsilon"
                    : config.Has("layer_norm_eps") ? "layer_norm_eps"
                                                   : "rms_norm_eps";
  STOWAGE_TRY(s.norm_eps, config.NumberOr(eps, d.norm_eps, kEps));
  STOWAGE_TRY(s.kv_shared_layers, config.IntOr("num_kv_shared_layers", 0, Range<std::int64_t>{0, s.layers}));
  if (s.heads % s.kv_heads != 0) {
    return config.Bad("num_key_value_heads",
                      fmt::format("is {}, not a divisor of num_attention_heads {}", s.kv_heads, s.heads));
  }
  if (s.heads * s.head_dim > kSizes.most) {
    return config.Bad("head_dim", fmt::format("is {}: {} heads of it are beyond {}", s.head_dim, s.heads, kSizes.most));
  }
  return OkStatus();
}

Status ReadRope(const HfConfig& config, const DecoderDefaults& d, DecoderConfig& out) {
  STOWAGE_TRY(const double outer, config.NumberOr("rope_theta", d.rope_theta, kTheta));
  STOWAGE_TRY(HfConfig rope, config.ObjectOr(config.Has("rope_scaling") ? "rope_scaling" : "rope_parameters"));
  if (rope.Has("full_attention")) {  // gemma3: one set per kind of layer
    STOWAGE_TRY(rope, rope.ObjectOr("full_attention"));
  }
  STOWAGE_TRY(out.shape.rope_theta, rope.NumberOr("rope_theta", outer, kTheta));
  STOWAGE_TRY(const std::string old_type, rope.StringOr("type", "default"));
  STOWAGE_TRY(out.rope.type, rope.StringOr("rope_type", old_type));
  STOWAGE_TRY(out.rope.factor, rope.NumberOr("factor", 1.0, kFactor));
  STOWAGE_TRY(out.rope.low_freq_factor, rope.NumberOr("low_freq_factor", 1.0, kFactor));
  STOWAGE_TRY(out.rope.high_freq_factor, rope.NumberOr("high_freq_factor", 4.0, kFactor));
  STOWAGE_TRY(const std::int64_t trained,
              config.IntOr("original_max_position_embeddings", out.shape.max_positions, kPositions));
  STOWAGE_TRY(out.rope.original_max_positions, rope.IntOr("original_max_position_embeddings", trained, kPositions));
  STOWAGE_TRY(const double above, config.NumberOr("partial_rotary_factor", 1.0, Range<double>{0, 1}));
  STOWAGE_TRY(const double partial, rope.NumberOr("partial_rotary_factor", above, Range<double>{0, 1}));
  out.rotary_dims = static_cast<std::int64_t>(static_cast<double>(out.shape.head_dim) * partial);
  return OkStatus();
}

Status ReadArchitecture(const HfConfig& config, DecoderConfig& out) {
  STOWAGE_TRY(const auto architectures, config.StringsOr("architectures"));
  const std::string causal = out.prefix + "ForCausalLM";
  if (architectures.empty() || architectures[0] == causal) return OkStatus();
  if (architectures[0] != out.body) {
    return config.Bad("architectures", fmt::format("names {}, supported for {} are {} and {}", architectures[0],
                                                   out.family, causal, out.body));
  }
  out.head = false;
  return OkStatus();
}

// fp8 in blocks is read here, mxfp4 by gpt_oss, what else there is by stored_scheme.h.
Status ReadQuantization(const HfConfig& config, DecoderConfig& out) {
  STOWAGE_TRY(const HfConfig q, config.ObjectOr("quantization_config"));
  STOWAGE_TRY(const std::string method, q.StringOr("quant_method", ""));
  if (method != "fp8") return OkStatus();
  Fp8 fp8;
  STOWAGE_TRY(const std::vector<std::int64_t> block, q.IntsOr("weight_block_size"));
  if (block.size() != 2 || block[0] < 1 || block[1] < 1) {
    return q.Bad("weight_block_size", "is not two positive integers, fp8 without blocks is not supported");
  }
  fp8.rows = block[0];
  fp8.columns = block[1];
  STOWAGE_TRY(fp8.skip, q.StringsOr("modules_to_not_convert"));
  out.fp8 = std::move(fp8);
  return OkStatus();
}

}  // namespace

Result<std::int64_t> ReadNullable(const HfConfig& config, std::string_view key, std::int64_t absent) {
  if (config.IsNull(key)) return 0;
  return config.IntOr(key, absent, Range<std::int64_t>{0, kPositions.most});
}

Status ReadWindows(const HfConfig& config, std::int64_t window, const std::function<bool(std::int64_t)>& otherwise,
                   TransformerShape& shape) {
  STOWAGE_TRY(const std::vector<std::string> types, config.StringsOr("layer_types"));
  if (!types.empty() && static_cast<std::int64_t>(types.size()) != shape.layers) {
    return config.Bad("layer_types", fmt::format("has {} entries for {} layers", types.size(), shape.layers));
  }
  std::vector<std::int64_t> windows;
  bool any = false;
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    bool slides = otherwise(i);
    if (!types.empty()) {
      const std::string& type = types[static_cast<std::size_t>(i)];
      slides = type == "sliding_attention" || type == "chunked_attention";
      if (!slides && type != "full_attention") {
        return config.Bad("layer_types", fmt::format("holds \"{}\", not a kind of attention known here", type));
      }
    }
    windows.push_back(slides ? window : 0);
    any = any || windows.back() > 0;
  }
  if (any) shape.windows = std::move(windows);
  return OkStatus();
}

Result<std::vector<bool>> ReadRotatingLayers(const HfConfig& config, std::int64_t layers) {
  STOWAGE_TRY(const std::int64_t interval, config.IntOr("no_rope_layer_interval", 4, kSizes));
  STOWAGE_TRY(const std::vector<std::int64_t> listed, config.IntsOr("no_rope_layers"));
  std::vector<bool> out;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool named = i < static_cast<std::int64_t>(listed.size());
    out.push_back(named ? listed[static_cast<std::size_t>(i)] != 0 : (i + 1) % interval != 0);
  }
  return out;
}

Result<double> ReadScoreScale(const HfConfig& config) {
  STOWAGE_TRY(const double scalar, config.NumberOr("query_pre_attn_scalar", 256, Range<double>{1e-3, 1e9}));
  return 1 / std::sqrt(scalar);
}

Result<double> ReadSoftcap(const HfConfig& config, std::string_view key, double absent) {
  if (config.IsNull(key)) return 0.0;
  return config.NumberOr(key, absent, Range<double>{0, 1e9});
}

bool EveryLayer(std::int64_t /*layer*/) { return true; }

Status ReadQwenWindows(const HfConfig& config, TransformerShape& shape) {
  STOWAGE_TRY(const bool slides, config.BoolOr("use_sliding_window", false));
  STOWAGE_TRY(const std::int64_t window, ReadNullable(config, "sliding_window", 4096));
  STOWAGE_TRY(const std::int64_t full, config.IntOr("max_window_layers", 28, Range<std::int64_t>{0, kPositions.most}));
  return ReadWindows(
      config, slides ? window : 0, [full](std::int64_t layer) { return layer >= full; }, shape);
}

Result<DecoderConfig> ReadDecoderConfig(const HfConfig& config, const DecoderDefaults& defaults, std::string prefix,
                                        std::string body) {
  DecoderConfig out;
  STOWAGE_TRY(out.family, config.StringOr("model_type", prefix));
  out.prefix = std::move(prefix);
  out.body = std::move(body);
  out.norm_class = out.prefix + "RMSNorm";
  STOWAGE_RETURN_IF_ERROR(ReadArchitecture(config, out));
  STOWAGE_RETURN_IF_ERROR(ReadShape(config, defaults, out.shape));
  STOWAGE_RETURN_IF_ERROR(ReadRope(config, defaults, out));
  STOWAGE_TRY(out.dtype, ReadStoredDType(config, DType::kF32));
  STOWAGE_TRY(out.tied, config.BoolOr("tie_word_embeddings", defaults.tied));
  STOWAGE_TRY(out.attention_bias, config.BoolOr("attention_bias", false));
  STOWAGE_TRY(out.mlp_bias, config.BoolOr("mlp_bias", false));
  const char* act_key = config.Has("hidden_activation") ? "hidden_activation" : "hidden_act";
  STOWAGE_TRY(out.activation, ReadActivation(config, act_key, defaults.activation));
  STOWAGE_RETURN_IF_ERROR(ReadQuantization(config, out));
  return out;
}

}  // namespace stowage

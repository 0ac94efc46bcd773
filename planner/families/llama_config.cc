#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "planner/families/llama.h"

namespace stowage {
namespace {

// Limits far above every published model; they keep all products of sizes inside 64 bits.
constexpr Range<std::int64_t> kLayers = {1, 10'000};
constexpr Range<std::int64_t> kWidth = {1, 1 << 20};
constexpr Range<std::int64_t> kHeads = {1, 1 << 14};
constexpr Range<std::int64_t> kVocab = {1, 1 << 24};
constexpr Range<std::int64_t> kPositions = {1, std::int64_t{1} << 31};
constexpr Range<double> kEps = {0, 1};
constexpr Range<double> kTheta = {1e-3, 1e15};
constexpr Range<double> kFactor = {1e-3, 1e6};

Result<TransformerShape> ReadShape(const HfConfig& config) {
  TransformerShape s;
  STOWAGE_TRY(s.layers, config.IntOr("num_hidden_layers", 32, kLayers));  // absent: LlamaConfig's, Llama 1 with 7B
  STOWAGE_TRY(s.hidden, config.IntOr("hidden_size", 4096, kWidth));
  STOWAGE_TRY(s.intermediate, config.IntOr("intermediate_size", 11008, kWidth));
  STOWAGE_TRY(s.heads, config.IntOr("num_attention_heads", 32, kHeads));
  STOWAGE_TRY(s.kv_heads, config.IntOr("num_key_value_heads", s.heads, kHeads));
  STOWAGE_TRY(s.head_dim, config.IntOr("head_dim", s.hidden / s.heads, kWidth));
  STOWAGE_TRY(s.vocab, config.IntOr("vocab_size", 32000, kVocab));
  STOWAGE_TRY(s.max_positions, config.IntOr("max_position_embeddings", 2048, kPositions));
  STOWAGE_TRY(s.norm_eps, config.NumberOr("rms_norm_eps", 1e-6, kEps));
  return s;
}

// transformers 5 gives a non-empty rope_scaling precedence over rope_parameters, and the rope_theta inside them
// precedence over the one beside them.
Status ReadRope(const HfConfig& config, LlamaConfig& out) {
  STOWAGE_TRY(const double outer_theta, config.NumberOr("rope_theta", 10000.0, kTheta));
  const char* key = config.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  STOWAGE_TRY(const HfConfig rope, config.ObjectOr(key));
  STOWAGE_TRY(out.shape.rope_theta, rope.NumberOr("rope_theta", outer_theta, kTheta));
  STOWAGE_TRY(const std::string old_type, rope.StringOr("type", "default"));
  STOWAGE_TRY(out.rope.type, rope.StringOr("rope_type", old_type));
  STOWAGE_TRY(const double partial, rope.NumberOr("partial_rotary_factor", 1.0, Range<double>{0, 1}));
  if (partial != 1.0) return rope.Bad("partial_rotary_factor", fmt::format("is {}, only 1 is supported", partial));
  const std::string& type = out.rope.type;
  if (type == "default") return OkStatus();
  constexpr auto kKnown = std::to_array<std::string_view>({"linear", "llama3", "dynamic", "longrope", "yarn"});
  if (std::find(kKnown.begin(), kKnown.end(), type) == kKnown.end()) {
    return rope.Bad(rope.Has("rope_type") ? "rope_type" : "type",
                    fmt::format("is \"{}\", supported are default, {}", type, fmt::join(kKnown, ", ")));
  }
  if (type == "longrope") return OkStatus();  // its factors are two tables; only their lengths matter here
  STOWAGE_TRY(out.rope.factor, rope.Number("factor", kFactor));
  if (type != "llama3") return OkStatus();
  STOWAGE_TRY(out.rope.low_freq_factor, rope.Number("low_freq_factor", kFactor));
  STOWAGE_TRY(out.rope.high_freq_factor, rope.Number("high_freq_factor", kFactor));
  STOWAGE_TRY(const std::int64_t trained,
              config.IntOr("original_max_position_embeddings", out.shape.max_positions, kPositions));
  STOWAGE_TRY(out.rope.original_max_positions, rope.IntOr("original_max_position_embeddings", trained, kPositions));
  return OkStatus();
}

Status ReadArchitecture(const HfConfig& config, LlamaConfig& out) {
  STOWAGE_TRY(const auto architectures, config.StringsOr("architectures"));
  if (architectures.empty()) return OkStatus();
  const std::string& named = architectures[0];
  out.head =
      named == "LlamaForCausalLM" || named == "LLaMAForCausalLM";  // the latter before transformers had the class
  if (!out.head && named != "LlamaModel") {
    return config.Bad("architectures",
                      fmt::format("names {}, supported for llama are LlamaForCausalLM and LlamaModel", named));
  }
  return OkStatus();
}

}  // namespace

Result<LlamaConfig> ReadLlamaConfig(const HfConfig& config) {
  LlamaConfig out;
  STOWAGE_RETURN_IF_ERROR(ReadArchitecture(config, out));
  STOWAGE_TRY(out.shape, ReadShape(config));
  STOWAGE_RETURN_IF_ERROR(ReadRope(config, out));
  const char* dtype_key = config.Has("dtype") ? "dtype" : "torch_dtype";
  STOWAGE_TRY(const std::string dtype, config.StringOr(dtype_key, "float32"));
  const std::optional<DType> parsed = ParseDType(dtype);
  if (!parsed || !IsFloating(*parsed)) {
    return config.Bad(dtype_key, fmt::format("is \"{}\", not a floating-point type known here", dtype));
  }
  out.dtype = *parsed;
  STOWAGE_TRY(out.tie_word_embeddings, config.BoolOr("tie_word_embeddings", false));
  STOWAGE_TRY(out.attention_bias, config.BoolOr("attention_bias", false));
  STOWAGE_TRY(out.mlp_bias, config.BoolOr("mlp_bias", false));
  STOWAGE_TRY(const std::string act, config.StringOr("hidden_act", "silu"));
  if (act != "silu") return config.Bad("hidden_act", fmt::format("is \"{}\", supported for llama is silu", act));
  STOWAGE_RETURN_IF_ERROR(CheckLlamaConfig(out, config.where()));
  return out;
}

Status CheckLlamaConfig(const LlamaConfig& config, const std::string& where) {
  const TransformerShape& s = config.shape;
  const auto bad = [&](std::string text) { return Error{ErrorCode::kInvalidInput, where + ": " + std::move(text)}; };
  if (s.hidden % s.heads != 0) {
    return bad(fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", s.hidden, s.heads));
  }
  if (s.heads % s.kv_heads != 0) {
    return bad(fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}", s.heads, s.kv_heads));
  }
  if (s.head_dim % 2 != 0) {
    return bad(fmt::format("head_dim {} is odd, rotary embedding needs pairs", s.head_dim));
  }
  if (s.heads * s.head_dim > kWidth.most) {
    return bad(fmt::format("num_attention_heads {} x head_dim {} is beyond {}", s.heads, s.head_dim, kWidth.most));
  }
  if (config.rope.type == "llama3" && config.rope.low_freq_factor >= config.rope.high_freq_factor) {
    return bad(fmt::format("rope low_freq_factor {} is not below high_freq_factor {}", config.rope.low_freq_factor,
                           config.rope.high_freq_factor));
  }
  return OkStatus();
}

}  // namespace stowage

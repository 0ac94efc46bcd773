#include "planner/quant/scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::array kSchemes = std::to_array<QuantScheme>({
    {"q8_0", "GGUF, 8.5 bits a weight", QuantRule::kGgml, DType::kQ8_0},
    {"int8", "bitsandbytes LLM.int8, a scale a row", QuantRule::kLinear, DType::kI8},
    {"int8-row", "torchao or quanto int8, a scale a row", QuantRule::kLinear, DType::kI8},
    {"fp8", "fp8 E4M3, a scale for each 128 x 128 block", QuantRule::kMatrices, DType::kF8E4M3},
    {"fp8-row", "fp8 E4M3, a scale a row", QuantRule::kLinear, DType::kF8E4M3},
    {"q6_k", "GGUF, 6.6 bits a weight", QuantRule::kGgml, DType::kQ6_K},
    {"q5_1", "GGUF, 6 bits a weight", QuantRule::kGgml, DType::kQ5_1},
    {"q5_k_m", "GGUF mix, 5.7 bits a weight", QuantRule::kGgml, DType::kQ5_K},
    {"q5_k_s", "GGUF, 5.5 bits a weight", QuantRule::kGgml, DType::kQ5_K},
    {"q5_0", "GGUF, 5.5 bits a weight", QuantRule::kGgml, DType::kQ5_0},
    {"q4_1", "GGUF, 5 bits a weight", QuantRule::kGgml, DType::kQ4_1},
    {"q4_k_m", "GGUF mix, 4.9 bits a weight", QuantRule::kGgml, DType::kQ4_K},
    {"q4_k_s", "GGUF mix, 4.6 bits a weight", QuantRule::kGgml, DType::kQ4_K},
    {"q4_0", "GGUF, 4.5 bits a weight", QuantRule::kGgml, DType::kQ4_0},
    {"iq4_nl", "GGUF, 4.5 bits a weight", QuantRule::kGgml, DType::kIQ4_NL},
    {"iq4_xs", "GGUF, 4.3 bits a weight", QuantRule::kGgml, DType::kIQ4_XS},
    {"nf4", "bitsandbytes nf4, blocks of 64", QuantRule::kLinear, DType::kNF4},
    {"fp4", "bitsandbytes fp4, blocks of 64", QuantRule::kLinear, DType::kFP4},
    {"hqq", "HQQ 4-bit, groups of 64", QuantRule::kLinear, DType::kI4},
    {"nvfp4", "nvfp4, blocks of 16", QuantRule::kLinear, DType::kFP4},
    {"int4", "quanto int4, groups of 128", QuantRule::kLinear, DType::kI4},
    {"int4-torchao", "torchao int4wo, groups of 128", QuantRule::kLinear, DType::kI4},
    {"gptq", "GPTQ 4-bit, groups of 128", QuantRule::kBlocks, DType::kI4},
    {"awq", "AWQ 4-bit, groups of 128", QuantRule::kBlocks, DType::kI4},
    {"nf4-double", "bitsandbytes nf4, quantized scales", QuantRule::kLinear, DType::kNF4},
    {"mxfp4", "mxfp4 experts, blocks of 32", QuantRule::kExperts, DType::kFP4},
    {"q3_k_l", "GGUF mix, 4.3 bits a weight", QuantRule::kGgml, DType::kQ3_K},
    {"q3_k_m", "GGUF mix, 4 bits a weight", QuantRule::kGgml, DType::kQ3_K},
    {"q3_k_s", "GGUF, 3.6 bits a weight", QuantRule::kGgml, DType::kQ3_K},
    {"q2_k", "GGUF mix, 3.2 bits a weight", QuantRule::kGgml, DType::kQ2_K},
});

// In the form of Canonical. bitsandbytes' load_in_4bit is fp4 unless bnb_4bit_quant_type says nf4.
constexpr std::array kAliases = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"8bit", "int8"},
    {"loadin8bit", "int8"},
    {"llmint8", "int8"},
    {"bnbint8", "int8"},
    {"bnb8bit", "int8"},
    {"4bit", "fp4"},
    {"loadin4bit", "fp4"},
    {"bnb4bit", "nf4"},
    {"bnbnf4", "nf4"},
    {"bnbfp4", "fp4"},
    {"nf4dq", "nf4-double"},
    {"nf4doublequant", "nf4-double"},
    {"nf4nested", "nf4-double"},
    {"bnb4bitusedoublequant", "nf4-double"},
    {"int8wo", "int8-row"},
    {"int8weightonly", "int8-row"},
    {"qint8", "int8-row"},
    {"quantoint8", "int8-row"},
    {"torchaoint8", "int8-row"},
    {"qint4", "int4"},
    {"quantoint4", "int4"},
    {"int4wo", "int4-torchao"},
    {"int4weightonly", "int4-torchao"},
    {"torchaoint4", "int4-torchao"},
    {"gptqint4", "gptq"},
    {"gptq4bit", "gptq"},
    {"gptqint4g128", "gptq"},
    {"int4gptq", "gptq"},
    {"w4a16", "gptq"},
    {"awqint4", "awq"},
    {"awq4bit", "awq"},
    {"int4awq", "awq"},
    {"hqq4bit", "hqq"},
    {"fp8e4m3", "fp8"},
    {"fp8e4m3fn", "fp8"},
    {"float8", "fp8"},
    {"float8e4m3", "fp8"},
    {"float8e4m3fn", "fp8"},
    {"fp8block", "fp8"},
    {"finegrainedfp8", "fp8"},
    {"fp8rowwise", "fp8-row"},
    {"float8wo", "fp8-row"},
    {"float8weightonly", "fp8-row"},
    {"qfloat8", "fp8-row"},
    {"q3k", "q3_k_m"},
    {"q4k", "q4_k_m"},
    {"q5k", "q5_k_m"},
    {"q80", "q8_0"},
});

std::string Canonical(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '-' || c == '_' || c == '.' || c == ' ') continue;
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (const std::string_view prefix : {"torch", "gguf:", "gguf"}) {
    if (out.size() > prefix.size() && out.starts_with(prefix) && !out.starts_with("torchao")) {
      out.erase(0, prefix.size());
    }
  }
  return out;
}

constexpr std::array kPlain = {DType::kF64, DType::kF32, DType::kF16, DType::kBF16};

}  // namespace

std::span<const QuantScheme> QuantSchemes() { return kSchemes; }

const QuantScheme* FindScheme(std::string_view text) {
  std::string wanted = Canonical(text);
  for (const auto& [alias, name] : kAliases) {
    if (wanted == alias) wanted = Canonical(name);
  }
  const auto* found = std::find_if(kSchemes.begin(), kSchemes.end(),
                                   [&](const QuantScheme& scheme) { return Canonical(scheme.name) == wanted; });
  return found == kSchemes.end() ? nullptr : found;
}

Result<NumberFormat> ParseNumberFormat(std::string_view text) {
  const std::string wanted = Canonical(text);
  if (wanted == "auto") return NumberFormat{};
  for (const DType dtype : kPlain) {
    if (Canonical(Name(dtype)) == wanted || Canonical(TorchName(dtype)) == wanted) return NumberFormat{.dtype = dtype};
  }
  if (const std::optional<DType> dtype = ParseDType(wanted);
      dtype && std::find(kPlain.begin(), kPlain.end(), *dtype) != kPlain.end()) {
    return NumberFormat{.dtype = dtype};  // half, float, double
  }
  if (const QuantScheme* scheme = FindScheme(text)) return NumberFormat{.scheme = scheme};
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is not known; known are {}", text, KnownFormats())};
}

std::string KnownFormats() {
  std::vector<std::string> names = {"auto"};
  for (const DType dtype : kPlain) names.emplace_back(Name(dtype));
  for (const QuantScheme& scheme : kSchemes) names.emplace_back(scheme.name);
  return Join(names, ", ");
}

}  // namespace stowage

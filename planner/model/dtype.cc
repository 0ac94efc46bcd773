#include "planner/model/dtype.h"

#include <array>

#include "planner/base/check.h"

namespace stowage {
namespace {

struct Row {
  DType dtype;
  std::int64_t bytes, elements;  // of a block
  std::string_view name, safetensors, torch, alias;
};

constexpr Row Packed(DType dtype, std::int64_t bytes, std::int64_t elements, std::string_view name,
                     std::string_view capitals) {
  return {dtype, bytes, elements, name, "", name, capitals};
}

// Blocks: sizes of ggml's structs (ggml-common.h), which GGUF files hold.
constexpr std::array kRows = {
    Row{DType::kF64, 8, 1, "fp64", "F64", "float64", "double"},
    Row{DType::kF32, 4, 1, "fp32", "F32", "float32", "float"},
    Row{DType::kF16, 2, 1, "fp16", "F16", "float16", "half"},
    Row{DType::kBF16, 2, 1, "bf16", "BF16", "bfloat16", "bfloat16"},
    Row{DType::kF8E4M3, 1, 1, "fp8_e4m3", "F8_E4M3", "float8_e4m3fn", "fp8"},
    Row{DType::kF8E5M2, 1, 1, "fp8_e5m2", "F8_E5M2", "float8_e5m2", "float8_e5m2"},
    Row{DType::kI64, 8, 1, "int64", "I64", "int64", "long"},
    Row{DType::kI32, 4, 1, "int32", "I32", "int32", "int"},
    Row{DType::kI16, 2, 1, "int16", "I16", "int16", "short"},
    Row{DType::kI8, 1, 1, "int8", "I8", "int8", "int8"},
    Row{DType::kU8, 1, 1, "uint8", "U8", "uint8", "uint8"},
    Row{DType::kBool, 1, 1, "bool", "BOOL", "bool", "bool"},
    Packed(DType::kQ4_0, 18, 32, "q4_0", "Q4_0"),
    Packed(DType::kQ4_1, 20, 32, "q4_1", "Q4_1"),
    Packed(DType::kQ5_0, 22, 32, "q5_0", "Q5_0"),
    Packed(DType::kQ5_1, 24, 32, "q5_1", "Q5_1"),
    Packed(DType::kQ8_0, 34, 32, "q8_0", "Q8_0"),
    Packed(DType::kQ8_1, 36, 32, "q8_1", "Q8_1"),
    Packed(DType::kQ2_K, 84, 256, "q2_k", "Q2_K"),
    Packed(DType::kQ3_K, 110, 256, "q3_k", "Q3_K"),
    Packed(DType::kQ4_K, 144, 256, "q4_k", "Q4_K"),
    Packed(DType::kQ5_K, 176, 256, "q5_k", "Q5_K"),
    Packed(DType::kQ6_K, 210, 256, "q6_k", "Q6_K"),
    Packed(DType::kQ8_K, 292, 256, "q8_k", "Q8_K"),
    Packed(DType::kIQ1_S, 50, 256, "iq1_s", "IQ1_S"),
    Packed(DType::kIQ1_M, 56, 256, "iq1_m", "IQ1_M"),
    Packed(DType::kIQ2_XXS, 66, 256, "iq2_xxs", "IQ2_XXS"),
    Packed(DType::kIQ2_XS, 74, 256, "iq2_xs", "IQ2_XS"),
    Packed(DType::kIQ2_S, 82, 256, "iq2_s", "IQ2_S"),
    Packed(DType::kIQ3_XXS, 98, 256, "iq3_xxs", "IQ3_XXS"),
    Packed(DType::kIQ3_S, 110, 256, "iq3_s", "IQ3_S"),
    Packed(DType::kIQ4_NL, 18, 32, "iq4_nl", "IQ4_NL"),
    Packed(DType::kIQ4_XS, 136, 256, "iq4_xs", "IQ4_XS"),
    Packed(DType::kTQ1_0, 54, 256, "tq1_0", "TQ1_0"),
    Packed(DType::kTQ2_0, 66, 256, "tq2_0", "TQ2_0"),
    Packed(DType::kMXFP4, 17, 32, "mxfp4", "MXFP4"),
    Packed(DType::kNVFP4, 36, 64, "nvfp4", "NVFP4"),
    Packed(DType::kQ1_0, 18, 128, "q1_0", "Q1_0"),
    Packed(DType::kQ2_0, 18, 64, "q2_0", "Q2_0"),
    Packed(DType::kNF4, 1, 2, "nf4", "NF4"),
    Packed(DType::kFP4, 1, 2, "fp4", "FP4"),
    Packed(DType::kI4, 1, 2, "int4", "INT4"),
};

constexpr bool InOrder() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].dtype) != i) return false;
  }
  return true;
}
static_assert(InOrder());

const Row& Find(DType dtype) { return kRows[static_cast<std::size_t>(dtype)]; }

}  // namespace

BlockLayout Block(DType dtype) { return {Find(dtype).elements, Find(dtype).bytes}; }

bool IsPacked(DType dtype) { return dtype >= DType::kQ4_0; }

int Bits(DType dtype) {
  STOWAGE_CHECK(!IsPacked(dtype));
  return static_cast<int>(8 * Find(dtype).bytes);
}

Bytes SizeOf(DType dtype, std::int64_t elements) {
  const Row& row = Find(dtype);
  return Bytes((elements + row.elements - 1) / row.elements * row.bytes);
}

bool IsFloating(DType dtype) { return dtype <= DType::kF8E5M2; }
std::string_view Name(DType dtype) { return Find(dtype).name; }
std::string_view SafetensorsName(DType dtype) { return Find(dtype).safetensors; }
std::string_view TorchName(DType dtype) { return Find(dtype).torch; }

std::optional<DType> ParseDType(std::string_view text) {
  if (text.starts_with("torch.")) text.remove_prefix(6);
  if (text.empty()) return std::nullopt;
  for (const Row& row : kRows) {
    if (text == row.name || text == row.safetensors || text == row.torch || text == row.alias) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace stowage

#include "planner/model/dtype.h"

#include <array>

namespace stowage {
namespace {

struct Row {
  DType dtype;
  int bits;
  std::string_view name, safetensors, torch, alias;
};

constexpr std::array<Row, 12> kRows = {{
    {DType::kF64, 64, "fp64", "F64", "float64", "double"},
    {DType::kF32, 32, "fp32", "F32", "float32", "float"},
    {DType::kF16, 16, "fp16", "F16", "float16", "half"},
    {DType::kBF16, 16, "bf16", "BF16", "bfloat16", "bfloat16"},
    {DType::kF8E4M3, 8, "fp8_e4m3", "F8_E4M3", "float8_e4m3fn", "fp8"},
    {DType::kF8E5M2, 8, "fp8_e5m2", "F8_E5M2", "float8_e5m2", "float8_e5m2"},
    {DType::kI64, 64, "int64", "I64", "int64", "long"},
    {DType::kI32, 32, "int32", "I32", "int32", "int"},
    {DType::kI16, 16, "int16", "I16", "int16", "short"},
    {DType::kI8, 8, "int8", "I8", "int8", "int8"},
    {DType::kU8, 8, "uint8", "U8", "uint8", "uint8"},
    {DType::kBool, 8, "bool", "BOOL", "bool", "bool"},
}};

const Row& Find(DType dtype) { return kRows[static_cast<std::size_t>(dtype)]; }

}  // namespace

int Bits(DType dtype) { return Find(dtype).bits; }
Bytes SizeOf(DType dtype, std::int64_t elements) { return Bytes(elements * Bits(dtype) / 8); }
bool IsFloating(DType dtype) { return dtype <= DType::kF8E5M2; }
std::string_view Name(DType dtype) { return Find(dtype).name; }
std::string_view SafetensorsName(DType dtype) { return Find(dtype).safetensors; }
std::string_view TorchName(DType dtype) { return Find(dtype).torch; }

std::optional<DType> ParseDType(std::string_view text) {
  if (text.starts_with("torch.")) text.remove_prefix(6);
  for (const Row& row : kRows) {
    if (text == row.name || text == row.safetensors || text == row.torch || text == row.alias) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace stowage

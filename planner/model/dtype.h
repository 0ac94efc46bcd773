// Element types of tensors, with the names of the formats that spell them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "planner/base/units.h"

namespace stowage {

enum class DType : std::uint8_t { kF64, kF32, kF16, kBF16, kF8E4M3, kF8E5M2, kI64, kI32, kI16, kI8, kU8, kBool };

// Bits of one element. Every type here fills whole bytes; packed 4-bit types arrive with quantization.
int Bits(DType dtype);
Bytes SizeOf(DType dtype, std::int64_t elements);
bool IsFloating(DType dtype);

std::string_view Name(DType dtype);             // "bf16": how our own output spells it
std::string_view SafetensorsName(DType dtype);  // "BF16"
std::string_view TorchName(DType dtype);        // "bfloat16"

// Accepts all three spellings above, "torch.bfloat16", and the aliases "float", "half", "double"; nothing else.
std::optional<DType> ParseDType(std::string_view text);

}  // namespace stowage

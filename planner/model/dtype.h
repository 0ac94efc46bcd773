// Element types of tensors, with the names of the formats that spell them.
//
// Plain types have a size for each element. Packed types store blocks: ggml's hold a fixed number of neighbouring
// elements of a row with their scales, 4-bit types two elements a byte. Only whole blocks have a size. A packed tensor is placed
// and moved like any other; no kernel computes with one yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "planner/base/units.h"

namespace stowage {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kQ4_0,  // packed from here on
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ8_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ8_K,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kMXFP4,
  kNVFP4,
  kQ1_0,
  kQ2_0,
  kNF4,  // bitsandbytes', packed two to a byte; their scales are no part of the dtype (Tensor::scales)
  kFP4,
  kI4,
};

// How a dtype lies in memory: `elements` neighbours take `bytes`. {1, size} for a plain type.
struct BlockLayout {
  std::int64_t elements = 1;
  std::int64_t bytes = 0;
};
BlockLayout Block(DType dtype);

bool IsPacked(DType dtype);
int Bits(DType dtype);                             // of one element; plain types only
Bytes SizeOf(DType dtype, std::int64_t elements);  // a block that is begun counts whole
bool IsFloating(DType dtype);                      // plain floating-point types

std::string_view Name(DType dtype);             // "bf16", "q4_k": how our own output spells it
std::string_view SafetensorsName(DType dtype);  // "BF16"; "" for packed types, which that format does not have
std::string_view TorchName(DType dtype);        // "bfloat16"; packed: as Name

// Accepts all three spellings above, "torch.bfloat16", the aliases "float", "half", "double", and packed types with
// capitals ("Q4_K"); nothing else.
std::optional<DType> ParseDType(std::string_view text);

}  // namespace stowage

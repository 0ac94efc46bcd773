// fp16 and bf16 on the host: bit-exact conversions, round to nearest even, NaN stays NaN (quiet), overflow gives
// infinity. The structs are also the element types of the device code (kernels/device.h), so that a .cu needs no CUDA
// type.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/call.h"

namespace stowage::kernels {

struct Half {
  std::uint16_t bits;  // IEEE binary16
};
struct BFloat16 {
  std::uint16_t bits;  // the upper half of an IEEE binary32
};

inline float HostToFloat(float value) { return value; }

inline float HostToFloat(BFloat16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

inline float HostToFloat(Half value) {
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16;
  if (magnitude >= 0x7c00u) {  // infinity, NaN: keep the payload, make it quiet
    const std::uint32_t quiet = magnitude > 0x7c00u ? 0x00400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude << 13) | quiet);
  }
  // As fp32 bits the exponent is 112 too small; the product with 2^112 is exact, for subnormals too.
  const float scaled = std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>(0x77800000u);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

inline BFloat16 HostToBFloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline Half HostToHalf(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x47800000u) {  // 2^16 and above, infinity
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal in fp16; a carry out of 65504 rounds to infinity by itself
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  } else {  // subnormal: adding 0.5 makes the FPU round at bit 2^-24
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

template <class T>
T HostFromFloat(float value);
template <>
inline float HostFromFloat<float>(float value) {
  return value;
}
template <>
inline Half HostFromFloat<Half>(float value) {
  return HostToHalf(value);
}
template <>
inline BFloat16 HostFromFloat<BFloat16>(float value) {
  return HostToBFloat16(value);
}

// Element `index` of an array of `dtype`: for references and tests, one branch per element.
inline float LoadElement(Dtype dtype, const void* data, std::int64_t index) {
  if (dtype == Dtype::kF32) return static_cast<const float*>(data)[index];
  if (dtype == Dtype::kF16) return HostToFloat(static_cast<const Half*>(data)[index]);
  return HostToFloat(static_cast<const BFloat16*>(data)[index]);
}

inline void StoreElement(Dtype dtype, void* data, std::int64_t index, float value) {
  if (dtype == Dtype::kF32) {
    static_cast<float*>(data)[index] = value;
  } else if (dtype == Dtype::kF16) {
    static_cast<Half*>(data)[index] = HostToHalf(value);
  } else {
    static_cast<BFloat16*>(data)[index] = HostToBFloat16(value);
  }
}

// `value` after a round trip through `dtype`.
inline float RoundTo(Dtype dtype, float value) {
  if (dtype == Dtype::kF16) return HostToFloat(HostToHalf(value));
  if (dtype == Dtype::kBF16) return HostToFloat(HostToBFloat16(value));
  return value;
}

// Calls f with a value of the element type, so that a template is chosen once per call.
template <class F>
int WithElementType(Dtype dtype, F&& f) {
  if (dtype == Dtype::kF32) return f(float{});
  if (dtype == Dtype::kF16) return f(Half{});
  return f(BFloat16{});
}

}  // namespace stowage::kernels

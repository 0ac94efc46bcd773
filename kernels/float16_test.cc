#include "kernels/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace stowage::kernels {
namespace {

// The value of a half by its definition.
double HalfValue(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(Half, EveryFinitePatternHasItsValueAndComesBack) {
  for (int bits = 0; bits < 65536; ++bits) {
    if ((bits & 0x7c00) == 0x7c00) continue;
    const Half half = {static_cast<std::uint16_t>(bits)};
    ASSERT_EQ(HostToFloat(half), HalfValue(half.bits)) << bits;
    ASSERT_EQ(HostToHalf(HostToFloat(half)).bits, bits);
  }
}

TEST(Half, RoundsToTheNearestAndTiesToEven) {
  for (int bits = 0; bits < 0x7bff; ++bits) {  // between each positive half and the next
    const double low = HalfValue(static_cast<std::uint16_t>(bits));
    const double high = HalfValue(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(HostToHalf(middle).bits, bits + (bits & 1)) << middle;
    ASSERT_EQ(HostToHalf(std::nextafter(middle, 0.0f)).bits, bits) << middle;
    ASSERT_EQ(HostToHalf(std::nextafter(middle, 1e9f)).bits, bits + 1) << middle;
  }
}

TEST(Half, OverflowIsInfinityAndNanStaysNan) {
  EXPECT_EQ(HostToHalf(65519.0f).bits, 0x7bff);
  EXPECT_EQ(HostToHalf(65520.0f).bits, 0x7c00);
  EXPECT_EQ(HostToHalf(-INFINITY).bits, 0xfc00);
  EXPECT_TRUE(std::isnan(HostToFloat(HostToHalf(NAN))));
  EXPECT_TRUE(std::isnan(HostToFloat(HostToHalf(std::bit_cast<float>(0x7f800001u)))));  // payload below fp16's bits
}

TEST(BFloat16, EveryPatternComesBack) {
  for (int bits = 0; bits < 65536; ++bits) {
    const BFloat16 value = {static_cast<std::uint16_t>(bits)};
    if (std::isnan(HostToFloat(value))) continue;
    ASSERT_EQ(HostToBFloat16(HostToFloat(value)).bits, bits);
  }
}

TEST(BFloat16, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const std::uint32_t middle = (bits << 16) + 0x8000u;
    ASSERT_EQ(HostToBFloat16(std::bit_cast<float>(middle)).bits, bits + (bits & 1));
    ASSERT_EQ(HostToBFloat16(std::bit_cast<float>(middle - 1)).bits, bits);
    ASSERT_EQ(HostToBFloat16(std::bit_cast<float>(middle + 1)).bits, bits + 1);
  }
}

TEST(BFloat16, OverflowIsInfinityAndNanStaysNan) {
  EXPECT_EQ(HostToBFloat16(3.4e38f).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(HostToFloat(HostToBFloat16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace stowage::kernels

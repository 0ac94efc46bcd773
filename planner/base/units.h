// Quantities with a unit. An operator exists only if its result has that dimension: Bytes(1) + Seconds(2) does not
// compile.
//
//   Seconds t = Bytes(16'000'000'000) / BytesPerSecond(12e9);   // 1.33 s
//
// Raw numbers appear only at the edges (JSON, CUDA, reports), where names end in _bytes, _s or _us.
#pragma once

#include <compare>
#include <cstdint>

namespace stowage {

template <class Tag, class Rep>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.value_ + b.value_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.value_ - b.value_); }
  friend constexpr Quantity operator-(Quantity a) { return Quantity(-a.value_); }
  friend constexpr Quantity operator*(Quantity a, Rep k) { return Quantity(a.value_ * k); }
  friend constexpr Quantity operator*(Rep k, Quantity a) { return Quantity(k * a.value_); }
  friend constexpr Quantity operator/(Quantity a, Rep k) { return Quantity(a.value_ / k); }
  constexpr Quantity& operator+=(Quantity b) { return *this = *this + b; }
  constexpr Quantity& operator-=(Quantity b) { return *this = *this - b; }

 private:
  Rep value_ = 0;
};

using Bytes = Quantity<struct BytesTag, std::int64_t>;
using Seconds = Quantity<struct SecondsTag, double>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag, double>;
using Flops = Quantity<struct FlopsTag, double>;  // a count of floating-point operations, not a rate
using FlopsPerSecond = Quantity<struct FlopsPerSecondTag, double>;

constexpr Seconds operator/(Bytes b, BytesPerSecond r) { return Seconds(static_cast<double>(b.value()) / r.value()); }
constexpr Seconds operator/(Flops f, FlopsPerSecond r) { return Seconds(f.value() / r.value()); }
constexpr BytesPerSecond operator/(Bytes b, Seconds s) {
  return BytesPerSecond(static_cast<double>(b.value()) / s.value());
}

// The smallest multiple of `alignment` (> 0) that is at least `size` (>= 0).
constexpr Bytes RoundUp(Bytes size, Bytes alignment) {
  return Bytes((size.value() + alignment.value() - 1) / alignment.value() * alignment.value());
}

// A byte count that changes with the iteration of a phase's body: at(i) = base + i * step. A KV cache that grows by one
// position a token is the reason it exists.
struct AffineBytes {
  std::int64_t base = 0;
  std::int64_t step = 0;

  constexpr AffineBytes() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a constant is affine
  constexpr AffineBytes(std::int64_t base_bytes, std::int64_t step_bytes = 0) : base(base_bytes), step(step_bytes) {}
  constexpr AffineBytes(Bytes b) : base(b.value()) {}  // NOLINT(google-explicit-constructor): the same
  constexpr Bytes at(std::int64_t iteration) const { return Bytes(base + iteration * step); }
  constexpr bool constant() const { return step == 0; }
  friend constexpr auto operator<=>(AffineBytes, AffineBytes) = default;
};

// The same for operation counts.
struct AffineFlops {
  double base = 0;
  double step = 0;

  constexpr Flops at(std::int64_t iteration) const { return Flops(base + static_cast<double>(iteration) * step); }
  constexpr bool constant() const { return step == 0; }
  friend constexpr auto operator<=>(AffineFlops, AffineFlops) = default;
};

}  // namespace stowage

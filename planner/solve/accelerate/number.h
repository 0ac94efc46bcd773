// A number as Python computes with it: an integer until a float meets it. accelerate's sizes are integers except those
// of bool and 4-bit tensors, its budgets are integers except a default one (times 0.9); which of the two a number is
// shows: in what is printed, and in fallback allocation, which fails for floats.
//
// Integers are 64 bits wide; Python's are not. They saturate instead of overflowing, far beyond any memory there is.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace stowage::accelerate {

class Number {
 public:
  constexpr Number() = default;
  static constexpr Number Int(std::int64_t value) { return Number(value, 0, false); }
  static constexpr Number Float(double value) { return Number(0, value, true); }

  constexpr bool is_float() const { return is_float_; }
  double AsDouble() const { return is_float_ ? float_ : static_cast<double>(int_); }
  std::int64_t Truncated() const;  // int(x); saturates

  friend Number operator+(Number a, Number b);
  friend Number operator-(Number a, Number b);
  friend Number operator*(Number a, Number b);
  Number& operator+=(Number b) { return *this = *this + b; }
  // a // b for b > 0: rounds down.
  friend Number FloorDivide(Number a, std::int64_t b);

  // By value, exactly, whatever the kinds: 1 == 1.0.
  friend std::partial_ordering operator<=>(Number a, Number b);
  friend bool operator==(Number a, Number b) { return (a <=> b) == 0; }

  // Python's: of equal ones the first.
  friend Number Min(Number a, Number b) { return b < a ? b : a; }
  friend Number Max(Number a, Number b) { return b > a ? b : a; }

  std::string Text() const;  // repr(x): "16106127360", "1450.5", "2.0"

 private:
  constexpr Number(std::int64_t i, double f, bool is_float) : int_(i), float_(f), is_float_(is_float) {}

  std::int64_t int_ = 0;
  double float_ = 0;
  bool is_float_ = false;
};

}  // namespace stowage::accelerate

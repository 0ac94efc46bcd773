#include "planner/solve/accelerate/number.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace stowage::accelerate {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();

}  // namespace

std::int64_t Number::Truncated() const {
  if (!is_float_) return int_;
  if (float_ >= 9.2e18) return kLargest;
  if (float_ <= -9.2e18) return kSmallest;
  return static_cast<std::int64_t>(float_);
}

Number operator+(Number a, Number b) {
  if (a.is_float_ || b.is_float_) return Number::Float(a.AsDouble() + b.AsDouble());
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a.int_, b.int_, &sum)) sum = a.int_ > 0 ? kLargest : kSmallest;
  return Number::Int(sum);
}

Number operator-(Number a, Number b) {
  if (a.is_float_ || b.is_float_) return Number::Float(a.AsDouble() - b.AsDouble());
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a.int_, b.int_, &difference)) difference = a.int_ > 0 ? kLargest : kSmallest;
  return Number::Int(difference);
}

Number operator*(Number a, Number b) {
  if (a.is_float_ || b.is_float_) return Number::Float(a.AsDouble() * b.AsDouble());
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a.int_, b.int_, &product)) product = (a.int_ > 0) == (b.int_ > 0) ? kLargest : kSmallest;
  return Number::Int(product);
}

Number FloorDivide(Number a, std::int64_t b) {
  if (!a.is_float_) return Number::Int(a.int_ / b - (a.int_ % b < 0 ? 1 : 0));
  // As CPython's float_floor_div: the remainder first, so that the quotient is not rounded up.
  const double divisor = static_cast<double>(b);
  double rest = std::fmod(a.float_, divisor);
  double quotient = (a.float_ - rest) / divisor;
  if (rest < 0) quotient -= 1;
  const double floor = std::floor(quotient);
  return Number::Float(quotient - floor > 0.5 ? floor + 1 : floor);
}

std::partial_ordering operator<=>(Number a, Number b) {
  if (!a.is_float_ && !b.is_float_) return a.int_ <=> b.int_;
  if (a.is_float_ && b.is_float_) return a.float_ <=> b.float_;
  // long double holds every 64-bit integer and every double.
  const auto wide = [](Number n) {
    return n.is_float_ ? static_cast<long double>(n.float_) : static_cast<long double>(n.int_);
  };
  return wide(a) <=> wide(b);
}

std::string Number::Text() const {
  if (!is_float_) return fmt::format("{}", int_);
  std::string text = fmt::format("{}", float_);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

}  // namespace stowage::accelerate

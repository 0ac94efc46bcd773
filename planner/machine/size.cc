#include "planner/machine/size.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace stowage {
namespace {

constexpr double kBeyondInt64 = 9223372036854775808.0;  // 2^63

struct Unit {
  std::string_view suffix;  // upper case
  double bytes;
  bool decimal;  // its last letter's case tells bytes from bits
};

// In accelerate's order; no suffix is the end of another one.
constexpr std::array<Unit, 8> kUnits = {{{"GIB", 1024.0 * 1024 * 1024, false},
                                         {"MIB", 1024.0 * 1024, false},
                                         {"KIB", 1024.0, false},
                                         {"TIB", 1024.0 * 1024 * 1024 * 1024, false},
                                         {"GB", 1e9, true},
                                         {"MB", 1e6, true},
                                         {"KB", 1e3, true},
                                         {"TB", 1e12, true}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view Strip(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

// The digits without '_' between two of them; nothing when a '_' stands elsewhere, as in Python.
std::optional<std::string> WithoutUnderscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !IsDigit(text[i - 1]) || !IsDigit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return out;
}

template <class Number>
std::optional<Number> ParseNumber(std::string_view text) {
  const std::optional<std::string> digits = WithoutUnderscores(Strip(text));
  if (!digits) return std::nullopt;
  const char* begin = digits->data();
  const char* end = begin + digits->size();
  if (begin != end && *begin == '+' && begin + 1 != end && begin[1] != '-') ++begin;  // from_chars knows no '+'
  Number value{};
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

const Unit* FindUnit(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  for (const Unit& unit : kUnits) {
    if (upper.size() >= unit.suffix.size() && upper.ends_with(unit.suffix)) return &unit;
  }
  return nullptr;
}

Error Refuse(std::string_view text) {
  return {ErrorCode::kInvalidInput,
          fmt::format("'{}' is not a size; write a number with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB "
                      "(powers of 1024) or Kb, Mb, Gb, Tb (bits), or a whole number of bytes",
                      text)};
}

}  // namespace

Result<Bytes> ParseSize(std::string_view text) {
  const Unit* unit = FindUnit(text);
  if (unit == nullptr) {
    const std::optional<std::int64_t> bytes = ParseNumber<std::int64_t>(text);
    if (!bytes) return Refuse(text);
    if (*bytes < 0) return Error{ErrorCode::kInvalidInput, fmt::format("size '{}' is below 0", text)};
    return Bytes(*bytes);
  }
  const std::optional<double> number = ParseNumber<double>(text.substr(0, text.size() - unit->suffix.size()));
  if (!number || !std::isfinite(*number)) return Refuse(text);
  const double bytes = std::trunc(*number * unit->bytes);
  if (bytes < 0) return Error{ErrorCode::kInvalidInput, fmt::format("size '{}' is below 0", text)};
  if (bytes >= kBeyondInt64) {
    return Error{ErrorCode::kInvalidInput, fmt::format("size '{}' is beyond 2^63 - 1 bytes", text)};
  }
  const auto whole = static_cast<std::int64_t>(bytes);
  return Bytes(unit->decimal && text.back() == 'b' ? whole / 8 : whole);
}

}  // namespace stowage

#include "planner/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

namespace stowage {
namespace {

// 4 significant digits below 10 and 100, as in "3.142", "31.42", "314.2".
std::string ShortNumber(double value) {
  const double magnitude = std::abs(value);
  if (magnitude < 9.9995) return fmt::format("{:.2f}", value);
  if (magnitude < 99.995) return fmt::format("{:.2f}", value);
  return fmt::format("{:.1f}", value);
}

bool LooksNumeric(const std::string& cell) {
  return cell.empty() || std::isdigit(static_cast<unsigned char>(cell[0])) || cell[0] == '-' || cell[0] == '+';
}

// Width on a terminal: code points, not bytes.
std::size_t Width(const std::string& cell) {
  return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string FormatBytes(Bytes size) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(size.value());
  std::size_t unit = 0;
  while (std::abs(value) >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", size.value());
  return fmt::format("{} {}", ShortNumber(value), kUnits[unit]);
}

std::string FormatSeconds(Seconds t) {
  const double s = t.value();
  if (s == 0) return "0 s";
  if (std::abs(s) < 1e-3) return fmt::format("{} us", ShortNumber(s * 1e6));
  if (std::abs(s) < 1) return fmt::format("{} ms", ShortNumber(s * 1e3));
  return fmt::format("{} s", ShortNumber(s));
}

std::string FormatCount(std::int64_t n) {
  std::string digits = fmt::format("{}", n);
  const std::size_t first = n < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

std::string FormatRate(BytesPerSecond rate) {
  return FormatBytes(Bytes(static_cast<std::int64_t>(rate.value()))) + "/s";
}

std::string FormatPercent(double fraction) { return fmt::format("{:.1f} %", fraction * 100); }

std::string AlignTable(std::span<const std::vector<std::string>> rows) {
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      if (c == widths.size()) {
        widths.push_back(0);
        right.push_back(true);
      }
      widths[c] = std::max(widths[c], Width(rows[r][c]));
      if (r > 0 && !LooksNumeric(rows[r][c])) right[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - Width(row[c]), ' ');
      if (c > 0) line += "  ";
      line += right[c] ? pad + row[c] : row[c] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string Join(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

}  // namespace stowage

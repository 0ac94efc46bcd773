// How quantities and lists are written for people. Pure functions; the same input gives the same bytes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/units.h"

namespace stowage {

std::string FormatBytes(Bytes size);   // decimal, 3-4 digits: "512 B", "436.2 MB", "16.06 GB"; "-1.5 kB" for negative
std::string FormatSeconds(Seconds t);  // "1.33 s", "12.4 ms", "850 us", "0 s"
std::string FormatCount(std::int64_t n);      // "8,030,261,248"
std::string FormatRate(BytesPerSecond rate);  // "12.4 GB/s"
std::string FormatPercent(double fraction);   // 0.125 -> "12.5 %"

// Rows of cells as an aligned table, two spaces between columns; a column whose cells below the first row all start
// with a digit, '-' or '+' is right-aligned. No trailing spaces. Rows may differ in length.
std::string AlignTable(std::span<const std::vector<std::string>> rows);

std::string Join(std::span<const std::string> parts, std::string_view separator);

}  // namespace stowage

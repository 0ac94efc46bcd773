// Sizes as people write them: "15GB", "15GiB", "1.5e3 MB", "16106127360".
//
// The rules are accelerate's (`convert_file_size_to_int`), because its users' strings are what we are given:
//   GiB MiB KiB   2^30 2^20 2^10    letter case never matters: "15gib" is fine
//   GB MB KB      10^9 10^6 10^3    bytes when the last letter is 'B', whatever the first one's case: "15gB"
//   Gb Mb Kb      the same, divided by 8: bits. "15gb" is 1,875,000,000 bytes
// The number is read as Python's float() reads it (blanks around it, an exponent, '_' between digits), multiplied and
// cut to an integer; one too small for a double (1e-999KB) is refused here and 0 there. Ours on top: TiB, TB and Tb by
// the same rules, and a plain integer is bytes (accelerate takes it only as a number, not as text). Everything else is
// refused, "512B" and "5T" included.
#pragma once

#include <string_view>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

// kInvalidInput, naming the text and what is accepted, for anything else and for sizes below 0 or beyond 2^63 - 1.
Result<Bytes> ParseSize(std::string_view text);

}  // namespace stowage

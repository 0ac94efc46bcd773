// Whole numbers on command lines.
#pragma once

#include <cstdint>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

// Decimal digits with an optional '-', nothing else. kInvalidInput: "must be 1 to 65,536, not '0'".
Result<std::int64_t> ReadNumber(std::string_view text, std::int64_t least, std::int64_t most);

}  // namespace stowage

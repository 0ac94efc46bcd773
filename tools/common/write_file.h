// Writing files so that a reader never sees half of one.
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

// Writes `text` to a temporary file beside `path`, then renames it. kIo names the path and the system's reason.
Status WriteFile(const std::string& path, std::string_view text);

}  // namespace stowage

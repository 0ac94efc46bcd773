// A device map as the parameter of a strategy: "device-map:{...}".
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"

namespace stowage {

// JSON without line ends and the indentation after them; a name never has one.
std::string OnOneLine(std::string_view json);

// accelerate's JSON, on one line. kIo: it cannot be read.
Result<std::string> ReadDeviceMapFile(const std::string& path);

}  // namespace stowage

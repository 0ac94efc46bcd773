// What --version says.
#pragma once

#include <string_view>

namespace stowage {

constexpr std::string_view kProject = "stowage";
constexpr std::string_view kVersion = "0.1.0";

}  // namespace stowage

// For the .cc files of this folder only: the one way JSON is written here.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace stowage {

// Members in insertion order, two spaces, a newline at the end. Bytes that are no UTF-8 become U+FFFD instead of an
// exception: names come from files.
std::string DumpJson(const nlohmann::ordered_json& json);

}  // namespace stowage

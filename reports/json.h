// For the .cc files of this folder only: the one way JSON is written here. It includes nlohmann/json, which is slow to
// compile, so no other header includes this one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace stowage {

// Members in insertion order, two spaces, a newline at the end. Bytes that are no UTF-8 become U+FFFD instead of an
// exception: names come from files.
inline std::string DumpJson(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage

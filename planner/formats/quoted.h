#pragma once

#include <string>
#include <string_view>

namespace stowage {

// A name as an error shows it: hostile ones may be long or hold control characters.
inline std::string Quoted(std::string_view name) {
  std::string out = "'";
  for (const char c : name.substr(0, 200)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out + (name.size() > 200 ? "...'" : "'");
}

}  // namespace stowage

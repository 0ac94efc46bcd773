// What the writer and the reader of the text form must agree on.
#pragma once

#include <string_view>

namespace stowage::text_form {

inline constexpr int kVersion = 1;

// Characters of a name that needs no quotes.
constexpr bool IsBare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_./:+-*()<>~|").find(c) != std::string_view::npos;
}

// Whether a name can stand as it is: a plain word that is neither '-' nor '->'.
constexpr bool IsBareName(std::string_view name) {
  if (name.empty() || name[0] == '-') return false;
  for (const char c : name) {
    if (!IsBare(c)) return false;
  }
  return true;
}

}  // namespace stowage::text_form

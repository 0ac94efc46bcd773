// Colours and wrapping of terminal texts, and escaping. With colours off, every function of Style returns its argument's characters unchanged.
#pragma once

#include <string>
#include <string_view>

namespace stowage {

class Style {
 public:
  explicit Style(bool colour) : colour_(colour) {}

  // The first line of `table` in bold.
  std::string Heading(std::string_view table) const;
  std::string Strong(std::string_view text) const { return Paint("1", text); }
  std::string Good(std::string_view text) const { return Paint("32", text); }
  std::string Bad(std::string_view text) const { return Paint("31", text); }
  std::string Faint(std::string_view text) const { return Paint("2", text); }

 private:
  std::string Paint(std::string_view code, std::string_view text) const;

  bool colour_;
};

// Breaks `text` at blanks so that no line is longer than `width` code points (a single longer word stays whole). The
// first line starts with `first`, the others with as many blanks. Ends with a newline.
std::string Wrap(std::string_view first, std::string_view text, std::size_t width);

// For XML and HTML, as text or in an attribute; control characters become '?'.
std::string EscapeMarkup(std::string_view text);

}  // namespace stowage

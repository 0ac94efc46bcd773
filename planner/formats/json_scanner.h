// A pull scanner for the JSON of checkpoint headers and indexes: one pass, no tree, strings as views into the text. It
// reads RFC 8259 strictly and treats the text as hostile: UTF-8 is validated first, nesting is limited, numbers cannot
// overflow. (config.json goes through a general library instead: it is small and its shape is free.)
//
//   JsonScanner in(text);
//   in.BeginObject();
//   for (std::string_view key; in.NextKey(key);) {
//     if (key == "n") n = in.Integer(); else in.Skip();
//   }
//   in.End();
//   if (!in.ok()) return Error{ErrorCode::kInvalidInput, where + ": " + in.problem()};
//
// After the first problem every call returns an empty value, NextKey and NextItem false, so loops end by themselves and
// one check at the end is enough.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace stowage {

// The offset of the first byte that is not part of valid UTF-8 (overlong forms and surrogates are not), or text.size().
std::size_t ValidUtf8Prefix(std::string_view text);

class JsonScanner {
 public:
  static constexpr int kMaxDepth = 64;

  explicit JsonScanner(std::string_view text);  // `text` must outlive the scanner

  bool ok() const { return problem_.empty(); }
  const std::string& problem() const { return problem_; }  // "byte 17: expected ':' after a key"
  std::size_t problem_at() const { return problem_at_; }   // the byte it names
  std::size_t position() const { return at_; }             // bytes consumed

  void BeginObject() { Begin('{', "an object"); }
  // False at the closing brace, which is consumed. `key` is valid until the next call of any member.
  bool NextKey(std::string_view& key);
  void BeginArray() { Begin('[', "an array"); }
  bool NextItem();  // false at the closing bracket, which is consumed

  std::string_view String();         // valid until the next call of any member
  std::int64_t Integer();            // in [0, 2^63): no sign, fraction or exponent
  double Number();                   // any number, as the nearest double; beyond its range is a problem
  bool Boolean();                    // true or false
  void Skip();                       // one value of any kind
  bool NextIsString();               // looks without consuming
  void End();                        // nothing but white space may follow
  void Fail(std::string_view what);  // records a problem at the current place, unless there is one already

 private:
  void Begin(char bracket, std::string_view what);
  bool Next(char closing, std::string_view container);
  char Peek();  // the next byte after white space, 0 at the end
  bool Take(char c);
  std::string_view Unescape(std::size_t begin);
  bool HexQuad(std::uint32_t& out);
  void SkipNumber();
  void SkipWord(std::string_view word);

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::array<bool, kMaxDepth> empty_ = {};    // by depth: no element read yet
  std::array<bool, kMaxDepth> objects_ = {};  // by depth: an object, not an array
  std::string scratch_;                       // a string that had escapes
  std::string problem_;
  std::size_t problem_at_ = 0;
};

}  // namespace stowage

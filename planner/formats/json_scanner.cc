#include "planner/formats/json_scanner.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <system_error>

namespace stowage {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighs = 0x8080808080808080;

std::uint64_t Load8(const char* p) {
  std::uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// A non-zero high bit for (at least) the first byte of `word` that equals c: the usual zero-byte test. Bytes after the
// first hit may be reported wrongly, so callers look at that word byte by byte.
std::uint64_t HasByte(std::uint64_t word, char c) {
  const std::uint64_t x = word ^ (kOnes * static_cast<unsigned char>(c));
  return (x - kOnes) & ~x & kHighs;
}

std::uint64_t HasControl(std::uint64_t word) { return (word - kOnes * 0x20) & ~word & kHighs; }

bool IsContinuation(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// Length of the multi-byte sequence at `at`, 0 if it is not valid. Second-byte limits from Unicode table 3-7.
std::size_t SequenceLength(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (!IsContinuation(text, at + 1)) return 0;
  const unsigned char second = byte(at + 1);
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (!IsContinuation(text, at + 2)) return 0;
  if (first == 0xE0) return second >= 0xA0 ? 3 : 0;
  if (first == 0xED) return second <= 0x9F ? 3 : 0;
  if (first >= 0xE1 && first <= 0xEF) return 3;
  if (!IsContinuation(text, at + 3)) return 0;
  if (first == 0xF0) return second >= 0x90 ? 4 : 0;
  if (first == 0xF4) return second <= 0x8F ? 4 : 0;
  return first >= 0xF1 && first <= 0xF3 ? 4 : 0;
}

void AppendUtf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::size_t ValidUtf8Prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && (Load8(text.data() + at) & kHighs) == 0) {
      at += 8;
    } else if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
    } else {
      const std::size_t length = SequenceLength(text, at);
      if (length == 0) return at;
      at += length;
    }
  }
  return at;
}

JsonScanner::JsonScanner(std::string_view text) : text_(text) {
  const std::size_t valid = ValidUtf8Prefix(text);
  if (valid < text.size()) {
    at_ = valid;
    Fail("is not valid UTF-8");
  }
}

void JsonScanner::Fail(std::string_view what) {
  if (!ok()) return;
  problem_ = fmt::format("byte {}: {}", at_, what);
  problem_at_ = at_;
}

char JsonScanner::Peek() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
    ++at_;
  }
  return '\0';
}

bool JsonScanner::Take(char c) {
  if (Peek() != c || at_ == text_.size()) return false;
  ++at_;
  return true;
}

void JsonScanner::Begin(char bracket, std::string_view what) {
  if (!ok()) return;
  if (!Take(bracket)) return Fail(fmt::format("expected {}", what));
  if (depth_ == kMaxDepth) return Fail(fmt::format("nested deeper than {}", kMaxDepth));
  objects_[depth_] = bracket == '{';
  empty_[depth_++] = true;
}

bool JsonScanner::Next(char closing, std::string_view container) {
  if (!ok()) return false;
  if (Take(closing)) {
    --depth_;
    return false;
  }
  const bool first = empty_[depth_ - 1];
  empty_[depth_ - 1] = false;
  if (first || Take(',')) return true;
  Fail(fmt::format("expected ',' or '{}' in {}", closing, container));
  return false;
}

bool JsonScanner::NextKey(std::string_view& key) {
  if (!Next('}', "an object")) return false;
  key = String();
  if (!ok()) return false;
  if (!Take(':')) Fail("expected ':' after a key");
  return ok();
}

bool JsonScanner::NextItem() { return Next(']', "an array"); }

bool JsonScanner::NextIsString() { return ok() && Peek() == '"'; }

std::string_view JsonScanner::String() {
  if (!ok()) return {};
  if (!Take('"')) {
    Fail("expected a string");
    return {};
  }
  const std::size_t begin = at_;
  while (at_ + 8 <= text_.size()) {
    const std::uint64_t word = Load8(text_.data() + at_);
    if ((HasByte(word, '"') | HasByte(word, '\\') | HasControl(word)) != 0) break;
    at_ += 8;
  }
  for (; at_ < text_.size(); ++at_) {
    const unsigned char c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') return text_.substr(begin, at_++ - begin);
    if (c == '\\') return Unescape(begin);
    if (c < 0x20) {
      Fail("control character in a string");
      return {};
    }
  }
  Fail("the text ends inside a string");
  return {};
}

// The string that began at `begin` and has its first escape at at_.
std::string_view JsonScanner::Unescape(std::size_t begin) {
  scratch_.assign(text_.substr(begin, at_ - begin));
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (static_cast<unsigned char>(c) < 0x20) {
      Fail("control character in a string");
      return {};
    }
    ++at_;
    if (c == '"') return scratch_;
    if (c != '\\') {
      scratch_ += c;
      continue;
    }
    const char escape = at_ < text_.size() ? text_[at_++] : '\0';
    static constexpr std::string_view kEscapes = "\"\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = kEscapes.find(escape); escape != '\0' && i != std::string_view::npos) {
      scratch_ += kMeanings[i];
      continue;
    }
    std::uint32_t code = 0;
    if (escape != 'u' || !HexQuad(code)) {
      Fail("unknown escape in a string");
      return {};
    }
    if (code >= 0xD800 && code < 0xE000) {
      std::uint32_t low = 0;
      const bool pair = code < 0xDC00 && text_.substr(at_, 2) == "\\u";
      if (pair) at_ += 2;
      if (!pair || !HexQuad(low) || low < 0xDC00 || low >= 0xE000) {
        Fail("half a surrogate pair in a string");
        return {};
      }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendUtf8(scratch_, code);
  }
  Fail("the text ends inside a string");
  return {};
}

bool JsonScanner::HexQuad(std::uint32_t& out) {
  if (at_ + 4 > text_.size()) return false;
  out = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = text_[at_ + i];
    const char lower = static_cast<char>(c | 0x20);
    if (!IsDigit(c) && (lower < 'a' || lower > 'f')) return false;
    out = out << 4 | static_cast<std::uint32_t>(IsDigit(c) ? c - '0' : lower - 'a' + 10);
  }
  at_ += 4;
  return true;
}

std::int64_t JsonScanner::Integer() {
  if (!ok()) return 0;
  const bool zero = Peek() == '0';
  const std::size_t begin = at_;
  std::int64_t value = 0;
  for (; at_ < text_.size() && IsDigit(text_[at_]); ++at_) {
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value)) {
      Fail("number beyond 2^63");
      return 0;
    }
  }
  const char next = at_ < text_.size() ? text_[at_] : '\0';
  if (at_ == begin || (zero && at_ - begin > 1) || next == '.' || next == 'e' || next == 'E') {
    Fail("expected an integer that is not negative");
    return 0;
  }
  return value;
}

double JsonScanner::Number() {
  if (!ok()) return 0;
  Peek();
  const std::size_t begin = at_;
  SkipNumber();
  if (!ok()) return 0;
  double value = 0;
  const std::from_chars_result read = std::from_chars(text_.data() + begin, text_.data() + at_, value);
  if (read.ec != std::errc()) Fail("number beyond what a double holds");
  return ok() ? value : 0;
}

void JsonScanner::SkipNumber() {
  const auto digits = [&] {
    const std::size_t begin = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    return at_ > begin;
  };
  const auto next_is = [&](char a, char b) { return at_ < text_.size() && (text_[at_] == a || text_[at_] == b); };
  if (next_is('-', '-')) ++at_;
  const bool zero = next_is('0', '0');
  const std::size_t begin = at_;
  bool good = digits() && !(zero && at_ - begin > 1);
  if (good && next_is('.', '.')) {
    ++at_;
    good = digits();
  }
  if (good && next_is('e', 'E')) {
    ++at_;
    if (next_is('+', '-')) ++at_;
    good = digits();
  }
  if (!good) Fail("expected a value");
}

void JsonScanner::SkipWord(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return Fail("expected a value");
  at_ += word.size();
}

bool JsonScanner::Boolean() {
  if (!ok()) return false;
  const char c = Peek();
  if (c != 't' && c != 'f') {
    Fail("expected true or false");
    return false;
  }
  SkipWord(c == 't' ? "true" : "false");
  return ok() && c == 't';
}

void JsonScanner::Skip() {
  const int floor = depth_;
  // One loop and not a recursion: the depth of the text must not be the depth of our stack.
  do {
    if (depth_ > floor) {
      std::string_view key;
      if (!(objects_[depth_ - 1] ? NextKey(key) : NextItem())) continue;
    }
    if (!ok()) return;
    switch (Peek()) {
      case '{':
        BeginObject();
        break;
      case '[':
        BeginArray();
        break;
      case '"':
        String();
        break;
      case 't':
        SkipWord("true");
        break;
      case 'f':
        SkipWord("false");
        break;
      case 'n':
        SkipWord("null");
        break;
      default:
        SkipNumber();
    }
  } while (ok() && depth_ > floor);
}

void JsonScanner::End() {
  if (!ok()) return;
  Peek();
  if (at_ < text_.size()) Fail("text after the end of the value");
}

}  // namespace stowage

// The bytes of a GGUF header in order, through a window of about a megabyte: what is stepped over is never read. For
// gguf.cc only.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "planner/base/result.h"
#include "planner/formats/file.h"

namespace stowage {

// The first failure sticks: everything after it reads as zeros and empty strings.
class GgufInput {
 public:
  // `file` null: `window` is all there is to read, though the file may be longer.
  GgufInput(const InputFile* file, std::string_view window, std::int64_t size, const std::string& where)
      : file_(file), window_(window), size_(size), where_(where) {}

  std::int64_t position() const { return begin_ + static_cast<std::int64_t>(at_); }
  std::int64_t left() const { return size_ - position(); }
  bool ok() const { return !error_; }
  Error TakeError() { return *std::move(error_); }

  void Fail(std::string text) {
    if (!error_) error_ = Error{ErrorCode::kInvalidInput, where_ + ": " + std::move(text)};
  }

  // A little-endian number.
  template <class T>
  T Get() {
    T value{};
    if (const char* p = Take(sizeof(T))) std::memcpy(&value, p, sizeof(T));
    return value;
  }

  // `bytes` bytes, valid until the next call; at most a window's worth is ever asked for.
  std::string_view Bytes(std::size_t bytes) {
    const char* p = Take(bytes);
    return p == nullptr ? std::string_view() : std::string_view(p, bytes);
  }

  void Skip(std::int64_t bytes);

 private:
  const char* Take(std::size_t bytes) {
    if (error_ || (window_.size() - at_ < bytes && !Refill(bytes))) return nullptr;
    const char* p = window_.data() + at_;
    at_ += bytes;
    return p;
  }
  bool Refill(std::size_t bytes);

  const InputFile* file_;
  std::string_view window_;  // of buffer_, or the caller's
  std::string buffer_;
  std::int64_t begin_ = 0;  // where window_ begins in the file
  std::size_t at_ = 0;      // in window_
  std::int64_t size_;
  const std::string& where_;
  std::optional<Error> error_;
};

}  // namespace stowage

#include "planner/formats/gguf_input.h"

#include <fmt/format.h>

#include <algorithm>

namespace stowage {
namespace {

constexpr std::int64_t kWindow = std::int64_t{1} << 20;

}  // namespace

bool GgufInput::Refill(std::size_t bytes) {
  if (error_) return false;
  const auto wanted = static_cast<std::int64_t>(bytes);
  if (wanted > left()) {
    Fail(fmt::format("ends at byte {}, the header needs [{}, {})", size_, position(), position() + wanted));
    return false;
  }
  const std::int64_t from = position();
  if (file_ == nullptr) {
    Fail(fmt::format("the header goes on at byte {}, beyond the {} bytes given", from, window_.size()));
    return false;
  }
  Result<std::string> read = file_->Read(from, std::min(std::max(wanted, kWindow), left()));
  if (!read) {
    error_ = std::move(read).error();
    return false;
  }
  buffer_ = *std::move(read);
  window_ = buffer_;
  begin_ = from;
  at_ = 0;
  return true;
}

void GgufInput::Skip(std::int64_t bytes) {
  if (error_) return;
  if (bytes > left()) {
    return Fail(fmt::format("ends at byte {}, the header needs {} bytes from {}", size_, bytes, position()));
  }
  if (bytes <= static_cast<std::int64_t>(window_.size() - at_)) {
    at_ += static_cast<std::size_t>(bytes);
    return;
  }
  begin_ = position() + bytes;
  at_ = 0;
  window_ = {};
  if (file_ == nullptr) Fail(fmt::format("the header goes on at byte {}, beyond the bytes given", begin_));
}

}  // namespace stowage

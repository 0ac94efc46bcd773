#include "sim/memory/pinned_allocator.h"

#include <fmt/format.h>

#include <bit>

#include "planner/base/check.h"
#include "planner/base/text.h"

namespace stowage {
namespace {

int PowerOf(Bytes size) { return std::bit_width(static_cast<std::uint64_t>(size.value() - 1)); }

}  // namespace

Bytes PinnedBlockSize(Bytes size) {
  STOWAGE_CHECK(size.value() >= 0);
  return size.value() == 0 ? size : Bytes(std::int64_t{1} << PowerOf(size));
}

Result<PinnedAllocator::BlockId> PinnedAllocator::Allocate(Bytes size) {
  STOWAGE_CHECK(size.value() >= 0);
  if (size.value() == 0) return kNoBlock;
  const int power = PowerOf(size);
  const Bytes block_size = PinnedBlockSize(size);
  BlockId id = kNoBlock;
  if (!idle_[power].empty()) {
    id = idle_[power].back();
    idle_[power].pop_back();
  } else {
    if (held_ + block_size > limit_) {
      return Error{ErrorCode::kOutOfMemory,
                   fmt::format("a pinned tensor of {} takes a block of {}, {} left of {}", FormatBytes(size),
                               FormatBytes(block_size), FormatBytes(limit_ - held_), FormatBytes(limit_))};
    }
    id = static_cast<BlockId>(blocks_.size());
    blocks_.push_back({.power = static_cast<std::int8_t>(power)});
    held_ += block_size;
  }
  blocks_[id].used = true;
  used_ += block_size;
  return id;
}

void PinnedAllocator::Free(BlockId id) {
  if (id == kNoBlock) return;
  STOWAGE_CHECK(static_cast<std::size_t>(id) < blocks_.size() && blocks_[id].used);
  Block& block = blocks_[id];
  block.used = false;
  used_ -= Bytes(std::int64_t{1} << block.power);
  idle_[block.power].push_back(id);
}

}  // namespace stowage

// PyTorch's pinned host allocator (CachingHostAllocator): every block is a power of two, kept for ever, reused only for
// requests of the same power. A layer of 1.21 GB takes a block of 2.15 GB.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

Bytes PinnedBlockSize(Bytes size);  // the next power of two; 0 for 0

class PinnedAllocator {
 public:
  using BlockId = std::int32_t;
  static constexpr BlockId kNoBlock = -1;  // of a request of 0 bytes

  explicit PinnedAllocator(Bytes limit) : limit_(limit) {}

  // kOutOfMemory names the sizes. A block that an asynchronous copy still reads must not be freed here before the copy
  // has ended; until then torch would not reuse it either.
  Result<BlockId> Allocate(Bytes size);
  void Free(BlockId block);

  Bytes held() const { return held_; }  // page-locked: only grows
  Bytes used() const { return used_; }  // of it, blocks in use
  Bytes limit() const { return limit_; }

 private:
  struct Block {
    std::int8_t power = 0;
    bool used = false;
  };
  Bytes limit_, held_, used_;
  std::vector<Block> blocks_;
  std::array<std::vector<BlockId>, 64> idle_;  // by power
};

}  // namespace stowage

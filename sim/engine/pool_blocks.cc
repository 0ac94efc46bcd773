#include "sim/engine/pool_blocks.h"

#include <vector>

#include "sim/memory/caching_allocator.h"

namespace stowage::sim {
namespace {

class ExactBlocks final : public PoolBlocks {
 public:
  ExactBlocks(Bytes limit, std::size_t buffers) : limit_(limit), bytes_(buffers) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t) override {
    if (used_ + bytes > limit_) return {.fits = false};
    bytes_[static_cast<std::size_t>(buffer)] = bytes;
    used_ += bytes;
    return {};
  }
  void Free(BufferId buffer) override { used_ -= bytes_[static_cast<std::size_t>(buffer)]; }
  void RecordStream(BufferId, std::int32_t) override {}
  Change EmptyCache() override { return {}; }
  Bytes used() const override { return used_; }
  Bytes allocated() const override { return used_; }

 private:
  Bytes limit_;
  Bytes used_;
  std::vector<Bytes> bytes_;  // by buffer
};

class CachingBlocks final : public PoolBlocks {
 public:
  CachingBlocks(Bytes limit, std::size_t buffers) : allocator_(limit), blocks_(buffers) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t queue) override {
    const std::int64_t mallocs = allocator_.device_mallocs(), frees = allocator_.device_frees();
    const Result<CachingAllocator::BlockId> block = allocator_.Allocate(bytes, queue + 1);  // -1: the default stream
    if (block) blocks_[static_cast<std::size_t>(buffer)] = *block;
    return {.fits = block.ok(),
            .device_mallocs = static_cast<int>(allocator_.device_mallocs() - mallocs),
            .device_frees = static_cast<int>(allocator_.device_frees() - frees)};
  }
  void Free(BufferId buffer) override { allocator_.Free(blocks_[static_cast<std::size_t>(buffer)]); }
  void RecordStream(BufferId buffer, std::int32_t queue) override {
    allocator_.RecordStream(blocks_[static_cast<std::size_t>(buffer)], queue + 1);
  }
  Change EmptyCache() override {
    const std::int64_t frees = allocator_.device_frees();
    allocator_.EmptyCache();
    return {.device_frees = static_cast<int>(allocator_.device_frees() - frees)};
  }
  Bytes used() const override { return allocator_.reserved(); }
  Bytes allocated() const override { return allocator_.allocated(); }

 private:
  CachingAllocator allocator_;
  std::vector<CachingAllocator::BlockId> blocks_;  // by buffer
};

}  // namespace

std::unique_ptr<PoolBlocks> MakeCachingBlocks(Bytes limit, std::size_t buffers) {
  return std::make_unique<CachingBlocks>(limit, buffers);
}

std::unique_ptr<PoolBlocks> MakeExactBlocks(Bytes limit, std::size_t buffers) {
  return std::make_unique<ExactBlocks>(limit, buffers);
}

}  // namespace stowage::sim

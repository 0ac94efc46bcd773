#include "sim/engine/pool_blocks.h"

#include <utility>
#include <vector>

#include "sim/memory/pinned_allocator.h"

namespace stowage::sim {
namespace {

class ExactBlocks final : public PoolBlocks {
 public:
  ExactBlocks(Bytes limit, std::size_t buffers) : limit_(limit), bytes_(buffers) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t, double at) override {
    if (at >= 0 && used_ + bytes > limit_) return {.fits = false};
    bytes_[static_cast<std::size_t>(buffer)] = bytes;
    used_ += bytes;
    return {};
  }
  void Free(BufferId buffer) override { used_ -= bytes_[static_cast<std::size_t>(buffer)]; }
  void RecordStream(BufferId, std::int32_t) override {}
  Change EmptyCache() override { return {.synchronises = true}; }
  Bytes used() const override { return used_; }
  Bytes allocated() const override { return used_; }

 private:
  Bytes limit_;
  Bytes used_;
  std::vector<Bytes> bytes_;  // by buffer
};

class TorchHostBlocks final : public PoolBlocks {
 public:
  TorchHostBlocks(Bytes limit, Bytes pinned_limit, const Schedule* schedule)
      : limit_(limit),
        schedule_(schedule),
        pinned_(pinned_limit),
        bytes_(schedule->buffers.size()),
        blocks_(schedule->buffers.size(), PinnedAllocator::kNoBlock) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t, double at) override {
    const auto index = static_cast<std::size_t>(buffer);
    if (schedule_->buffers[index].pinned) {
      const auto block = pinned_.Allocate(bytes);
      if (!block) return {.fits = false};
      blocks_[index] = *block;
    } else {
      bytes_[index] = bytes;
      pageable_ += bytes;
    }
    return {.fits = at < 0 || used() <= limit_};
  }
  void Free(BufferId buffer) override {
    const auto index = static_cast<std::size_t>(buffer);
    if (schedule_->buffers[index].pinned) {
      if (blocks_[index] != PinnedAllocator::kNoBlock) pinned_.Free(blocks_[index]);
    } else {
      pageable_ -= bytes_[index];
    }
  }
  void RecordStream(BufferId, std::int32_t) override {}
  Change EmptyCache() override { return {.synchronises = true}; }
  Bytes used() const override { return pageable_ + pinned_.held(); }
  Bytes allocated() const override { return pageable_ + pinned_.used(); }
  Bytes pinned() const override { return pinned_.held(); }

 private:
  Bytes limit_;
  const Schedule* schedule_;
  Bytes pageable_;
  PinnedAllocator pinned_;
  std::vector<Bytes> bytes_;                      // by buffer: pageable ones
  std::vector<PinnedAllocator::BlockId> blocks_;  // by buffer: pinned ones
};

class CachingBlocks final : public PoolBlocks {
 public:
  CachingBlocks(Bytes limit, const CachingAllocatorSettings& settings, std::size_t buffers, const QueueProgress* queues)
      : allocator_(limit, settings), queues_(queues), blocks_(buffers, CachingAllocator::kNoBlock) {}

  Change Allocate(BufferId buffer, Bytes bytes, std::int32_t queue, double at) override {
    CompletePassed(at);
    const Before before(allocator_);
    const auto block = allocator_.Allocate(bytes, StreamOf(queue));
    if (block) blocks_[static_cast<std::size_t>(buffer)] = *block;
    return before.Since(allocator_, block.ok());
  }

  void Free(BufferId buffer) override {
    CachingAllocator::BlockId& block = blocks_[static_cast<std::size_t>(buffer)];
    std::vector<Mark> marks;
    if (block != CachingAllocator::kNoBlock) {
      for (const std::int32_t stream : allocator_.StreamsOf(block)) {
        marks.push_back({QueueOf(stream), queues_->Mark(QueueOf(stream))});
      }
    }
    if (const auto ticket = allocator_.Free(block); ticket != 0) deferred_.push_back({ticket, std::move(marks)});
    block = CachingAllocator::kNoBlock;
  }

  void RecordStream(BufferId buffer, std::int32_t queue) override {
    const auto block = blocks_[static_cast<std::size_t>(buffer)];
    if (block != CachingAllocator::kNoBlock) allocator_.RecordStream(block, StreamOf(queue));
  }

  Change EmptyCache() override {
    const bool pending = allocator_.deferred() > 0;
    const Before before(allocator_);
    allocator_.EmptyCache();
    deferred_.clear();
    Change change = before.Since(allocator_, true);
    change.synchronises |= pending;
    return change;
  }

  Bytes used() const override { return allocator_.reserved(); }
  Bytes allocated() const override { return allocator_.allocated(); }

 private:
  struct Mark {
    std::int32_t queue;
    double mark;
  };
  struct Deferred {
    CachingAllocator::Ticket ticket;
    std::vector<Mark> marks;
  };
  struct Before {
    explicit Before(const CachingAllocator& a) : mallocs(a.device_mallocs()), frees(a.device_frees()) {}
    Change Since(const CachingAllocator& a, bool fits) const {
      const std::int64_t freed = a.device_frees() - frees;
      return {fits, a.device_mallocs() - mallocs, freed, freed > 0};
    }
    std::int64_t mallocs, frees;
  };

  // Stream 0 belongs to no queue, so that a recorded queue is never taken for the owner.
  static std::int32_t StreamOf(std::int32_t queue) { return queue + 1; }
  static std::int32_t QueueOf(std::int32_t stream) { return stream - 1; }

  void CompletePassed(double at) {
    std::erase_if(deferred_, [&](const Deferred& deferred) {
      for (const Mark& m : deferred.marks) {
        if (m.queue >= 0 && !queues_->Passed(m.queue, m.mark, at)) return false;
      }
      allocator_.Complete(deferred.ticket);
      return true;
    });
  }

  CachingAllocator allocator_;
  const QueueProgress* queues_;
  std::vector<CachingAllocator::BlockId> blocks_;  // by buffer
  std::vector<Deferred> deferred_;
};

}  // namespace

std::unique_ptr<PoolBlocks> MakeCachingBlocks(Bytes limit, const CachingAllocatorSettings& settings,
                                              std::size_t buffers, const QueueProgress* queues) {
  return std::make_unique<CachingBlocks>(limit, settings, buffers, queues);
}

std::unique_ptr<PoolBlocks> MakeTorchHostBlocks(Bytes limit, Bytes pinned_limit, const Schedule* schedule) {
  return std::make_unique<TorchHostBlocks>(limit, pinned_limit, schedule);
}

std::unique_ptr<PoolBlocks> MakeExactBlocks(Bytes limit, std::size_t buffers) {
  return std::make_unique<ExactBlocks>(limit, buffers);
}

}  // namespace stowage::sim

// How a pool's allocator turns buffers into bytes taken from the pool. The seam between the simulator's books and the
// allocators it models.
#pragma once

#include <cstdint>
#include <memory>

#include "planner/base/units.h"
#include "planner/schedule/schedule.h"
#include "sim/memory/caching_allocator.h"

namespace stowage::sim {

// What a run knows about the work in its queues.
class QueueProgress {
 public:
  virtual ~QueueProgress() = default;
  virtual double Mark(std::int32_t queue) const = 0;                          // stands for all work issued to it so far
  virtual bool Passed(std::int32_t queue, double mark, double at) const = 0;  // that work is done at `at` seconds
};

class PoolBlocks {
 public:
  struct Change {
    bool fits = true;
    std::int64_t device_mallocs = 0;
    std::int64_t device_frees = 0;
    bool synchronises = false;  // the issuer waits for all work of the device
  };
  virtual ~PoolBlocks() = default;
  // `queue`: on whose behalf, -1: nobody in particular. `at`: negative for what is there from the start.
  virtual Change Allocate(BufferId buffer, Bytes bytes, std::int32_t queue, double at) = 0;
  virtual void Free(BufferId buffer) = 0;  // one that was allocated
  virtual void RecordStream(BufferId buffer, std::int32_t queue) = 0;
  virtual Change EmptyCache() = 0;
  virtual Bytes used() const = 0;                    // taken from the pool
  virtual Bytes allocated() const = 0;               // handed out, rounding included
  virtual Bytes pinned() const { return Bytes(0); }  // of `used`, page-locked by torch's pinned allocator
};

// Exact bytes; nothing is cached. Buffers that are there from the start (at < 0) count but are not refused.
std::unique_ptr<PoolBlocks> MakeExactBlocks(Bytes limit, std::size_t buffers);

// Host memory of a torch program: exact bytes, but page-locked buffers get blocks of PyTorch's pinned allocator
// (sim/memory/pinned_allocator.h), powers of two that are never given back. `pinned_limit`: for those alone. *schedule
// must outlive it.
std::unique_ptr<PoolBlocks> MakeTorchHostBlocks(Bytes limit, Bytes pinned_limit, const Schedule* schedule);

// PyTorch's caching allocator (sim/memory/caching_allocator.h); each queue is a stream. The memory of a buffer recorded
// on other queues returns when the work issued to them before its Free is done. EmptyCache waits for the device if it
// gives segments back (cudaFree does) or if such buffers are pending. *queues must outlive it.
std::unique_ptr<PoolBlocks> MakeCachingBlocks(Bytes limit, const CachingAllocatorSettings& settings,
                                              std::size_t buffers, const QueueProgress* queues);

}  // namespace stowage::sim

// How a pool's allocator turns buffers into bytes taken from the pool. The seam between the simulator's books and the
// allocators it models.
#pragma once

#include <cstdint>
#include <memory>

#include "planner/base/units.h"
#include "planner/schedule/schedule.h"

namespace stowage::sim {

class PoolBlocks {
 public:
  struct Change {
    bool fits = true;
    int device_mallocs = 0;
    int device_frees = 0;  // each waits for the device
  };
  virtual ~PoolBlocks() = default;
  virtual Change Allocate(BufferId buffer, Bytes bytes, std::int32_t queue) = 0;
  virtual void Free(BufferId buffer) = 0;  // one that was allocated
  virtual void RecordStream(BufferId buffer, std::int32_t queue) = 0;
  virtual Change EmptyCache() = 0;
  virtual Bytes used() const = 0;       // taken from the pool
  virtual Bytes allocated() const = 0;  // handed out, rounding included
};

// Exact bytes up to `limit`; nothing is cached.
std::unique_ptr<PoolBlocks> MakeExactBlocks(Bytes limit, std::size_t buffers);

// PyTorch's caching allocator (sim/memory/caching_allocator.h): `used` are its segments. A block that another queue has
// used (RecordStream) stays taken after its Free until the cache is flushed: the latest that torch may reuse it, an
// upper bound of what is reserved.
std::unique_ptr<PoolBlocks> MakeCachingBlocks(Bytes limit, std::size_t buffers);

}  // namespace stowage::sim

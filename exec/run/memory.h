// Where a run's buffers are: root buffers become arenas of their pool's device, slices become pointers.
#pragma once

#include <mutex>
#include <vector>

#include "exec/device.h"
#include "exec/measure/measure.h"
#include "exec/run/execute.h"

namespace stowage {

// Allocate and Free may come from several issuers; a slice is resolved after its Allocate was issued.
class RunMemory {
 public:
  // All must outlive this. `contents` of initial buffers are written when their arena is allocated.
  RunMemory(const Schedule* schedule, DeviceSet* devices, const Contents* contents);

  Status AllocateInitial();  // the arenas that are there before the schedule starts
  Status Allocate(BufferId buffer, StepId step, Seconds at);
  Status Free(BufferId buffer, StepId step, Seconds at);
  void FreeAll();  // what is still allocated; the queues must be idle

  // The bytes of a slice in one iteration. kInternal outside its buffer, or before the buffer was allocated.
  Result<DeviceSlice> Resolve(const Slice& slice, std::int64_t iteration) const;
  Result<std::vector<std::byte>> Fetch(BufferId buffer) const;  // all of it; nothing queued may touch it

  BufferId RootOf(BufferId buffer) const { return places_[buffer].root; }
  const std::vector<MemoryEvent>& events() const { return events_; }

 private:
  struct Place {  // of a buffer
    BufferId root = -1;
    std::int64_t offset = 0;    // within the root
    std::byte* base = nullptr;  // of a root; nullptr: not allocated
    Device* device = nullptr;   // nullptr: a pool without memory (disk)
  };
  Bytes SizeOf(BufferId buffer) const { return schedule_->buffers[buffer].bytes.at(0); }

  Status Fill(BufferId root);

  const Schedule* schedule_;
  const Contents* contents_;
  mutable std::mutex mutex_;
  std::vector<Place> places_;
  std::vector<MemoryEvent> events_;
};

}  // namespace stowage

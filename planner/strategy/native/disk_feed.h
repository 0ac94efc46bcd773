// Matrices that the host has no room for: each use reads them from their files into a few slots of pinned host memory
// and copies them on to the device's ring.
//
//   disk --Read--> slot of "host_ring" --Copy--> ring of the device --> launch
//
// A device's stream cannot wait for a host thread, so an issuer of its own waits for each read; launches of what is
// already there go on meanwhile. Reads follow each other as long as slots are free, across passes too.
#pragma once

#include <map>
#include <vector>

#include "planner/schedule/builder.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

// Slots for the pieces in which `on_disk` tensors pass. Nothing (no slots) when there are none.
struct HostRing {
  Bytes slot;
  std::int32_t slots = 0;
  Bytes total() const { return slot * slots; }
};
// As many slots, of as much, as `limit` allows; at least two of 1 MiB (or of the largest matrix, if that is less), which
// is what Bytes(0) gives.
HostRing HostRingFor(const NativeModel& native, const NativeProposal& proposal, Bytes limit);

// Whether a kernel has matrices on the disk: then it does not gather its experts but streams all of them.
bool ReadsFromDisk(const NativeKernel& kernel, const NativeProposal& proposal);

// Whether a matrix alone can be read from its file at each use: as it is stored, and never gathered by rows or experts.
bool CanBeOnDisk(const NativeModel& native, TensorId tensor);

// Whether MoveToDisk can ever mark a tensor, alone or with others.
bool MayLeaveForDisk(const NativeModel& native, TensorId tensor);

// Marks as few of the proposal's streamed bytes `on_disk` as the budget of host memory demands, evenly spread over the
// pass, so that the disk reads all the time; all that can be, when that is not enough. Experts of a kernel that gathers
// them go together, if at all.
void MoveToDisk(const NativeModel& native, const PlanningTask& task, NativeProposal& proposal);

// Emits the steps of pieces that come from the disk. One for all phases of a schedule.
class DiskFeed {
 public:
  struct Lanes {
    Lane read;                 // disk0/0
    Lane in;                   // a queue of its own on the link: another issuer's
    std::int32_t issuer = -1;  // waits for the reads
    std::int32_t main = -1;    // the issuer of everything else
    std::int32_t disk = -1;    // pool
  };
  // The builder and the model outlive it.
  DiskFeed(ScheduleBuilder* b, const Model* model, const Lanes& lanes, BufferId host_ring, const HostRing& size);

  struct Copies {
    StepId first = -1, last = -1;  // the first one waits for the ring, launches wait for the last
  };
  // Brings item's rows into `to`, which is free after `after`.
  Copies Feed(const StreamItem& item, BufferId to, std::vector<StepRef> after);

  // First of all: its issuer waits for the end of the load phase, whose last step this is.
  void Start(StepId loaded);
  // A piece whose rows are in host memory. Copies follow each other in one queue, wherever they come from.
  StepId Copy(Slice from, BufferId to, std::vector<StepRef> after);
  // Around the body of a phase: what its first reads wait for differs from iteration to iteration.
  void BeginBody() { body_begin_ = b_.next(); }
  void EndBody();

 private:
  BufferId FileOf(TensorId id);

  ScheduleBuilder& b_;
  const Model& model_;
  const Lanes lanes_;
  const HostRing size_;
  std::vector<BufferId> slots_;
  std::vector<StepId> last_copy_;   // out of each slot; -1: none yet
  std::vector<StepId> first_read_;  // into each slot in the body; -1: none
  std::map<TensorId, BufferId> files_;
  std::int64_t unwritten_ = 0;
  std::size_t next_ = 0;
  StepId body_begin_ = -1;
};

}  // namespace stowage

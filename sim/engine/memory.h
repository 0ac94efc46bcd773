// Bytes in use per pool while a schedule runs, and who held them at the peak.
//
// Root buffers count from the issue of their Allocate to the issue of their Free; initial ones from the start. A pool
// may use PoolUse::budget for them; the machine's reservations of the pool (driver context, library workspaces) come on
// top, in the peak and in the budget reported. A budget of 0 is no limit. The disk is not counted.
//
//   kArena, kPageable   exact bytes. Of a schedule with a torch pool, pinned buffers of a pageable pool are torch's: its
//                       allocator's blocks are powers of two, reused and never given back
//   kTorchCaching       segments of PyTorch's caching allocator (PoolBlocks): the pool's use is what it has reserved
//
// Attribution. A buffer with parts that do not overlap is listed part by part, and its rest as "<name> (unused)"; one
// whose parts take turns in the same place (activations, a ring) is one line. What an allocator holds beyond the
// buffers is a line of kind "fragmentation". So the lines add up to the peak's bytes. Among instants of equal use the
// first one with the most bytes alive is reported.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"
#include "sim/engine/pool_blocks.h"
#include "sim/timeline/timeline.h"

namespace stowage::sim {

class Memory {
 public:
  // All pointers must outlive this. `torch`: of the caching pools.
  Memory(const Schedule* schedule, const Machine* machine, const CachingAllocatorSettings& torch,
         const QueueProgress* queues, bool record_curves);

  // Initial buffers. False: a torch pool cannot hold them.
  bool Start();

  struct Outcome {
    enum class State : std::uint8_t { kDone, kOutOfMemory, kError } state = State::kDone;
    std::int64_t device_mallocs = 0;  // the allocator's own calls to the driver
    std::int64_t device_frees = 0;
    bool synchronises = false;  // the issuer waits for all work queued on the pool's device

    bool Delays() const { return device_mallocs > 0 || device_frees > 0 || synchronises; }
    double DriverSeconds(const DispatchCost& dispatch) const {  // that the issuer spends
      return static_cast<double>(device_mallocs) * dispatch.device_malloc.value() +
             static_cast<double>(device_frees) * dispatch.device_free.value();
    }
  };
  // An Allocate, Free, EmptyCache or RecordStream, issued at `at` seconds; calls come in order of time.
  Outcome Act(StepId step, std::int32_t phase, std::int64_t iteration, double at);

  const Error& error() const { return error_; }
  // Fills pools, torch, that of the phases (which are there) and out_of_memory.
  void Finish(Timeline& timeline);

 private:
  struct Held {
    BufferId buffer;
    std::int64_t bytes;
    bool of_pass = false;  // counts as live in TorchPeaks
  };
  struct PoolState {
    bool counted = true;
    std::int64_t limit = 0;
    std::int64_t context = 0;
    std::unique_ptr<PoolBlocks> blocks;
    std::vector<Held> held;
    std::int64_t live = 0;  // sum of `held`
    std::int64_t peak_used = -1;
    std::int64_t peak_live = 0;
    double peak_at = 0;
    StepId peak_step = -1;
    std::int32_t peak_phase = 0;
    bool snapshot_due = false;  // `held` is still as it was at the peak
    std::vector<Held> snapshot;
    std::vector<PoolSample> curve;
  };

  Outcome Allocate(StepId step, std::int32_t phase, std::int64_t iteration, double at);
  Outcome Free(StepId step, double at);
  Outcome Fail(StepId step, std::string what);
  void Add(PoolState& pool, BufferId buffer, std::int64_t bytes, StepId step, std::int32_t phase, double at);
  void TakeSnapshot(PoolState& pool);
  void Sample(PoolState& pool, double at);
  void EnterPhase(std::int32_t phase);
  void ForgetWhatEarlierPassesLeft();
  void NotePeaks(const PoolState& pool);
  bool OfPass(const Buffer& buffer) const;
  void FinishPhases(Timeline& timeline) const;
  std::unique_ptr<PoolBlocks> MakeBlocks(const PoolUse& use, Bytes limit, const CachingAllocatorSettings& torch,
                                         const QueueProgress* queues) const;
  Outcome OutOfMemoryAt(std::string step, std::int32_t phase, std::int32_t pool, std::int64_t bytes);
  std::vector<PeakBuffer> Attribute(const PoolState& pool, const std::string& name) const;
  Bytes BudgetOf(std::size_t pool) const;
  void AddParts(const Held& held, std::vector<PeakBuffer>& lines) const;

  const Schedule* schedule_;
  const Machine* machine_;
  bool record_curves_;
  bool torch_ = false;
  std::int32_t phase_ = -1;          // that of the last act
  std::vector<bool> runs_passes_;    // by phase
  std::vector<TorchPeaks> peaks_;    // by phase
  std::vector<bool> entered_;        // by phase
  std::int64_t live_of_passes_ = 0;  // in torch pools
  std::vector<PoolState> pools_;
  std::vector<BufferId> parts_;      // buffers with a parent, by parent, then offset
  std::vector<std::int32_t> place_;  // by buffer: index into its pool's `held`; -1: not allocated
  std::int64_t allocated_peak_ = 0;
  std::int64_t reserved_peak_ = 0;
  Bytes pinned_peak_;
  std::optional<OutOfMemory> out_of_memory_;
  Error error_;
};

}  // namespace stowage::sim

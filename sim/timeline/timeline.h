// What happened when, predicted by the simulator or measured by the executor: the same type for both, so that they can
// be laid side by side step by step.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/units.h"

namespace stowage {

// One execution of one step. Times count from the start of the schedule.
struct StepSpan {
  std::int32_t step = -1;      // index into Schedule::steps
  std::int64_t iteration = 0;  // of its phase's body; 0 outside
  Seconds issued;
  Seconds start;
  Seconds end;
};

struct PoolSample {
  Seconds at;
  Bytes bytes;  // in use from `at` on
};

struct PeakBuffer {
  std::string name;
  std::string kind;  // weights, kv, activations, workspace, staging, context, tokens, fragmentation
  Bytes bytes;
};

// The moment of a pool's highest use and what was alive at it. The buffers' bytes add up to `bytes`.
struct Peak {
  Bytes bytes;
  Seconds at;
  std::string step;  // name of the step that reached it
  std::string phase;
  std::vector<PeakBuffer> buffers;  // largest first; reservations of the machine (context) included
};

struct PoolTimeline {
  std::string pool;
  Bytes budget;
  Peak peak;
  std::vector<PoolSample> curve;  // changes only; empty unless asked for
};

struct ResourceTimeline {
  std::string resource;
  Seconds busy;
  Seconds idle;  // busy + idle = the timeline's length
  std::map<std::string, Seconds>
      idle_causes;  // "waiting for copy", "waiting for compute", "waiting for the issuer", … ; sums to idle
};

// Highest figures within a phase, what it starts with included.
struct TorchPeaks {
  Bytes allocated;  // as torch.cuda.max_memory_allocated
  Bytes reserved;   // as torch.cuda.max_memory_reserved
  // What the phase's passes hold, unrounded: the caches and ids that they are given, and all that they allocate; not what
  // the load phase or earlier passes left otherwise, nor workspaces of libraries. The trace recorder's peak_live_bytes.
  Bytes live;
};

struct PhaseTimeline {
  std::string phase;
  std::int64_t iterations = 0;  // passes completed
  Seconds start;
  Seconds seconds;
  std::optional<TorchPeaks> torch = {};  // of schedules with a torch pool
};

// What torch.cuda would report.
struct TorchMemory {
  Bytes allocated_peak;  // max_memory_allocated
  Bytes reserved_peak;   // max_memory_reserved
  Bytes pinned;          // held by the pinned host allocator
};

struct OutOfMemory {
  std::string pool;
  std::string step;
  std::string phase;
  Bytes requested;
  Bytes available;
};

struct Timeline {
  std::vector<PhaseTimeline> phases;
  std::vector<PoolTimeline> pools;
  std::vector<ResourceTimeline> resources;
  std::optional<TorchMemory> torch;
  std::optional<OutOfMemory> out_of_memory;  // the run ends there
  Seconds length;
  std::vector<StepSpan> spans;  // in issue order; empty unless asked for
};

// The phase of that name, or nullptr.
const PhaseTimeline* FindPhase(const Timeline& timeline, std::string_view phase);

}  // namespace stowage

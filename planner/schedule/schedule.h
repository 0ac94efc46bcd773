// The contract between every strategy and both interpreters: what is done, in which order, on what, with which bytes.
// The simulator costs exactly these steps; the executor runs exactly these steps.
//
//   phase decode
//     prologue    steps once             |  issuer "main" issues its steps in the order of Schedule::steps,
//     body  x n   the same steps n times |  each then waits in its queue for its turn:
//     epilogue    steps once             |  start = max(issued, end of the queue's previous step,
//                                        |              ends of `after`, resources free)
//
// Order. Schedule::steps is one list; a phase's sections are consecutive ranges of it. A step may only refer (after,
// target) to steps earlier in the list, or, inside a body, to any step of the same body one iteration back. So no cycle
// can be written. A reference of a body step to the previous iteration means nothing in iteration 0. A reference to a
// body step from outside the body (epilogue, later phases) means its last iteration.
//
// Memory. A root buffer (no parent) is an allocation: an arena of the native runtime, a tensor's storage of the torch
// runtime. A buffer with a parent is a named part of it at a fixed offset: a weight in its arena, an activation, a
// tensor passing through a ring. Parts may overlap in space when they do not in time; CheckSchedule proves it by
// happens-before.
//
// Long because: the contract is one page, and its parts are read together.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/units.h"
#include "planner/realize/kernel.h"

namespace stowage {

using StepId = std::int32_t;
using BufferId = std::int32_t;

enum class BufferKind : std::uint8_t { kWeights, kKv, kActivations, kWorkspace, kStaging, kContext, kTokens };
std::string_view Name(BufferKind kind);

// Who decides where a pool's root buffers lie.
enum class Allocator : std::uint8_t {
  kArena,         // exact sizes, allocated once; the pool's budget is a hard limit that CheckSchedule enforces
  kTorchCaching,  // PyTorch's caching allocator: Allocate and Free act when issued; may run out of memory
  kPageable,      // host memory: exact sizes
};
std::string_view Name(Allocator allocator);

struct PoolUse {
  std::string name;  // a pool of the machine
  Allocator allocator = Allocator::kArena;
  Bytes budget;  // what root buffers of this schedule may take: the machine's budget less reservations
  friend bool operator==(const PoolUse&, const PoolUse&) = default;
};

struct Buffer {
  std::string name;
  std::int32_t pool = -1;  // index into Schedule::pools
  BufferKind kind = BufferKind::kActivations;
  AffineBytes bytes;  // torch storages may grow with the iteration; a part of a parent is constant
  BufferId parent = -1;
  Bytes offset;            // within the parent
  bool pinned = false;     // page-locked host memory
  bool initial = false;    // holds its contents before the schedule starts (files, the prompt): never allocated
  std::int32_t file = -1;  // contents come from Schedule::files[file] at file_offset; implies initial, pool "disk"
  std::int64_t file_offset = 0;
  friend bool operator==(const Buffer&, const Buffer&) = default;
};

struct Slice {
  BufferId buffer = -1;
  AffineBytes offset;  // within the buffer
  AffineBytes bytes;   // the worst case: what may be touched
  friend bool operator==(const Slice&, const Slice&) = default;
};

enum class StepKind : std::uint8_t {
  kAllocate,      // buffer; acts when issued
  kFree,          // buffer; acts when issued
  kEmptyCache,    // pool; acts when issued
  kRecordStream,  // buffer, queue: its memory is not reused before the queue's work so far is done; acts when issued
  kRead,          // disk -> host
  kCopy,          // slice -> slice
  kCompute,       // a realized kernel
  kReduce,        // one step per rank, all with the same group: starts when all ranks are ready, all end together
  kWait,          // the issuer waits until `target` has ended
};
std::string_view Name(StepKind kind);

struct StepRef {
  StepId step = -1;
  std::int32_t back = 0;  // 0: this iteration (or a step outside the body); 1: the previous iteration
  friend bool operator==(const StepRef&, const StepRef&) = default;
};

// What part of the pass's work a Compute is. `pass` counts the passes unrolled in its section (a ring whose period is
// two tokens has passes 0 and 1 in its body).
struct Instance {
  std::int32_t op = -1;  // index into Phase::required
  std::int32_t pass = 0;
  std::int16_t rank = 0;
  std::int16_t micro_batch = 0;
  std::int16_t tile = 0;
  friend auto operator<=>(const Instance&, const Instance&) = default;
};

struct Step {
  StepKind kind = StepKind::kCompute;
  std::int32_t issuer = 0;  // index into Schedule::issuers
  bool blocking = false;    // the issuer waits for its end
  std::int32_t queue = -1;  // index into Schedule::queues; -1 for what acts when issued
  std::array<std::int16_t, 3> resources = {-1, -1,
                                           -1};  // indices into Schedule::resources, -1: none; held from start to end
  bool pageable = false;                         // Copy: at the transfer's pageable rate
  std::vector<StepRef> after;
  std::vector<Slice> reads;  // Read, Copy: reads[0] -> writes[0]. Compute: see Kernel
  std::vector<Slice> writes;
  std::int32_t kernel = -1;                   // Compute: index into Schedule::kernels
  BufferId buffer = -1;                       // Allocate, Free, RecordStream
  std::int32_t pool = -1;                     // EmptyCache
  StepRef target;                             // Wait
  std::int32_t group = -1;                    // Reduce
  Instance instance;                          // Compute
  std::optional<AffineBytes> expected_bytes;  // Read, Copy, Reduce: what is costed where it is less than the slices
  std::optional<Seconds> fixed;               // a given duration instead of the cost model's (tests, measured steps)
  std::string name;  // "copy model.layers.7.mlp.up_proj.weight"; empty: named after its kernel or buffer
  friend bool operator==(const Step&, const Step&) = default;
};

struct Section {
  StepId begin = 0;
  StepId end = 0;           // steps [begin, end)
  std::int32_t passes = 0;  // passes of the network this section completes per run of it
  friend bool operator==(const Section&, const Section&) = default;
};

struct RequiredOp {  // each (pass, rank, micro_batch, tile) of it must be computed exactly once
  std::string name;
  std::int16_t ranks = 1;  // a rank other than 0..ranks-1 is an error
  std::int16_t micro_batches = 1;
  std::int16_t tiles = 1;
  friend bool operator==(const RequiredOp&, const RequiredOp&) = default;
};

struct Phase {
  std::string name;  // "load", "prefill", "decode", …
  Section prologue;
  Section body;
  Section epilogue;
  std::int64_t iterations = 0;  // of the body
  bool captured = false;        // the body is issued as one unit per iteration (a CUDA graph)
  std::vector<RequiredOp> required;
  friend bool operator==(const Phase&, const Phase&) = default;
};

enum class IssuerKind : std::uint8_t { kNative, kTorch };
std::string_view Name(IssuerKind kind);

struct Issuer {
  std::string name;  // "main", "python", "loader"
  IssuerKind kind = IssuerKind::kNative;
  friend bool operator==(const Issuer&, const Issuer&) = default;
};

struct Queue {
  std::string name;  // "gpu0/compute", "gpu0/in", "disk0/0", "cpu/0"
  friend bool operator==(const Queue&, const Queue&) = default;
};

struct Schedule {
  std::string name;  // "ring(256 MB) llama-3.1-8b"
  std::vector<PoolUse> pools;
  std::vector<std::string> resources;  // names of the machine's resources
  std::vector<Queue> queues;
  std::vector<Issuer> issuers;
  std::vector<std::string> files;
  std::vector<Buffer> buffers;
  std::vector<Kernel> kernels;
  std::vector<Step> steps;
  std::vector<Phase> phases;  // in order; their sections cover `steps` in order

  BufferId RootOf(BufferId buffer) const;
  Bytes OffsetInRoot(BufferId buffer) const;
  // By step: whether its end is part of its phase's time. In a phase that computes, transfers nobody waits for are not: a
  // ring's copies for the next phase run ahead in this one. In a phase that only moves data (loading) every step counts.
  std::vector<bool> EndsPhase() const;
  std::string StepName(StepId step) const;  // name, or what it does to what: "compute model.norm", "allocate weights"

  friend bool operator==(const Schedule&, const Schedule&) = default;
};

}  // namespace stowage

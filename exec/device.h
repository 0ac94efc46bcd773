// One accelerator, or a stand-in for one, as the executor sees it: arenas, in-order queues, events.
//
//   issuer thread                       queues of one device (each in order; different queues run concurrently)
//   OpenQueue "gpu0/in"        ──►      in       │ Copy w0 ────► Record e │ Copy w1 …
//   OpenQueue "gpu0/compute"   ──►      compute  │ WaitFor e ──► Launch … │
//
// Asynchronous: Copy, Read, Launch, WaitFor and Record only append to a queue and may return before anything ran.
// Blocking: AllocateArena, FreeArena, Write, Fetch, Drain and Event::HostWait. What a command touches must stay valid
// until an event recorded after it is reached.
//
// Errors. A call returns what it can know at once. What fails later fails its queue: the commands behind it are
// skipped, their events carry the error, and HostWait and Drain return it.
//
// Threads. Calls for one queue must not overlap; calls for different queues may. Everything else (arenas, OpenQueue,
// StartClock, Drain, TakeSpans) belongs to one thread at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exec/weights/files.h"
#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/realize/kernel.h"
#include "sim/timeline/timeline.h"

namespace stowage {

// A point in a queue. Any thread may wait for it.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool Done() = 0;        // reached, or its queue failed; never blocks
  virtual Status HostWait() = 0;  // blocks the calling thread until then; the queue's error if it failed
};
using EventPtr = std::shared_ptr<Event>;

// Which step a command belongs to: what its measured span is filed under, and how long it lasts at least.
struct StepTag {
  std::int32_t step = -1;
  std::int64_t iteration = 0;
  Seconds issued;  // since StartClock's epoch
  // Pacing, on host devices: it ends this long after it could start, also when its thread woke up late. 0: as fast as
  // it goes. CUDA ignores it.
  Seconds at_least;
};

struct ArenaRequest {
  std::string name;  // of the root buffer, for errors
  Bytes bytes;
  bool pinned = false;  // host memory that CUDA copies from or to asynchronously
};

struct CopyCall {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  Bytes bytes;
  std::string_view name;  // of the step, for errors and logs; outlives the run
};

struct ReadCall {
  std::byte* to = nullptr;
  const WeightFiles* files = nullptr;  // outlives the run
  std::int32_t file = -1;
  std::int64_t offset = 0;  // in the file
  Bytes bytes;
  std::string_view name;  // of the tensor, for errors; outlives the run
};

struct DeviceSlice {
  std::byte* data = nullptr;
  Bytes bytes;  // what the step's slice spans; pinned down here so that a binding can check it
};

// A kernel with its operands in the order of planner/realize/kernel.h.
struct KernelCall {
  static constexpr std::size_t kMaxOperands = 6;
  const Kernel* kernel = nullptr;  // outlives the run
  std::int64_t iteration = 0;
  std::size_t read_count = 0;
  std::size_t write_count = 0;
  std::array<DeviceSlice, kMaxOperands> reads{};
  std::array<DeviceSlice, kMaxOperands> writes{};
};

class Device {
 public:
  using Clock = std::chrono::steady_clock;

  virtual ~Device() = default;  // drains, then frees its arenas

  virtual std::string_view name() const = 0;  // the pool it serves: "gpu0", "host"
  virtual Bytes used() const = 0;             // sum of its arenas

  // At least 256-byte aligned, contents undefined, owned by the device. kOutOfMemory beyond the pool's budget: names
  // the arena, its bytes and the bytes left.
  virtual Result<std::byte*> AllocateArena(const ArenaRequest& request) = 0;
  virtual Status FreeArena(std::byte* arena) = 0;

  virtual Result<int> OpenQueue(std::string_view name) = 0;

  // Later commands of `queue` start after `event`, of whatever device. kInternal where this device cannot wait for it
  // (a CUDA stream for work of a host thread): the issuer must have waited itself.
  virtual Status WaitFor(int queue, const EventPtr& event) = 0;
  virtual Status Copy(int queue, const CopyCall& call, const StepTag& tag) = 0;
  virtual Status Read(int queue, const ReadCall& call, const StepTag& tag) = 0;
  virtual Status Launch(int queue, const KernelCall& call, const StepTag& tag) = 0;
  virtual Result<EventPtr> Record(int queue) = 0;

  // Synchronous access to an arena while no queued command touches the bytes: initial contents in, results out.
  virtual Status Write(std::byte* to, std::span<const std::byte> from) = 0;
  virtual Status Fetch(std::span<std::byte> to, const std::byte* from) = 0;

  virtual void StartClock(Clock::time_point epoch) = 0;  // spans count from here
  virtual Status Drain() = 0;                            // waits for all queues; the first error of any command
  virtual std::vector<StepSpan> TakeSpans() = 0;         // measured since the last call; after Drain
};

}  // namespace stowage

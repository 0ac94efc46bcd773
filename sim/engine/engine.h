// Simulate: what a schedule does on a machine, when, and with how much memory. The same input gives the same bytes.
//
// Issuers. Each host thread issues its steps in program order (the order of Schedule::steps, phase by phase). It pays
// the dispatch cost of a step (planner/cost/step_cost.h), then the step is issued. A blocking step and a Wait stop it
// until the step, or the target, has ended. Allocate, Free, EmptyCache and RecordStream act when issued; their `after`
// means nothing. The body of a captured phase costs one native launch per iteration and issuer. A job without a queue
// (host work: a module hook) runs on its issuer, which waits for it.
//
// Jobs. A Read, Copy, Compute or Reduce starts at max(issued, end of the step before it in its queue, ends of its
// `after`, its exclusive resources free) and holds its resources until it ends. Where several could start, in each
// instant: what ends in it ends; what is issued in it is issued (issuers by index); then the heads of the queues that
// wait for resources only are looked at in the order (ready first, issued first, position in the unrolled schedule) and
// each starts if its resources are free: nobody holds a resource while waiting for another. This repeats until nothing
// more happens in that instant. A Reduce's steps start together, when all are ready and have their resources, and end
// together after the longest of them.
//
// Shared resources. With n_r jobs on a resource r that divides its bandwidth equally, a job proceeds at the rate
// 1 / max_r(own_r + n_r * divided_r), see ResourceCost; re-evaluated whenever a job starts or ends.
//
// Phases. A phase ends when the last step that counts (Schedule::EndsPhase) has ended (not before the previous phase's
// end), and starts where the previous one ended: durations add up to the length (unless a transfer that nobody waits for
// ends last) although steps of neighbouring phases may overlap. Iterations are the passes that its sections completed.
// Neighbouring phases of one name are one phase of the timeline.
//
// Idle time. Where a resource idles before job J, J's binding predecessor is the one whose end let it start (a step of
// `after`, the step before it in its queue, the holder of a resource it needed, else its issuer). While that
// predecessor runs, the cause is "waiting for a copy" (compute, read, reduce), or "waiting for another job of R" if it
// held J's resource R; before its start, the walk goes on with its own binding predecessor, back to the start of the
// gap. Time between the last step an issuer waited for and the issue is "waiting for the issuer". After a resource's
// last job there is "nothing left to do".
//
// Memory. See sim/engine/memory.h. When an allocation does not fit, Timeline::out_of_memory says so and the run ends:
// nothing more is issued, what was issued runs to its end.
#pragma once

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

// What the allocators of a run did: calls to the driver, waits for the device, peaks. The sequence of memory acts is the
// schedule's, so another run at other rates repeats it, unless they ask when work was done.
struct AllocatorActs {
  struct Act {
    std::int64_t execution;  // position in the unrolled schedule
    std::int64_t device_mallocs;
    std::int64_t device_frees;
    bool synchronises;
  };
  struct PoolPeak {
    std::string pool;
    Bytes bytes;  // without the machine's reservations
  };
  std::vector<Act> acts;  // in order
  std::vector<PoolPeak> peaks;
  bool repeat = false;  // at any rate
};

struct SimulateOptions {
  bool record_spans = false;
  bool record_curves = false;
  AllocatorActs* record_acts = nullptr;  // filled, for SimulateTimes
  bool force_event_loop = false;         // the general algorithm even where one pass in program order does (tests)
};

// Errors (kInvalidInput): a resource or queue that does not exist, a duration that is not finite, a buffer allocated
// twice or freed when not allocated, a schedule that cannot go on (a Reduce whose partner is never issued), settings of
// torch's allocator that are not understood.
Result<Timeline> Simulate(const Schedule& schedule, const Machine& machine, const SimulateOptions& options = {});

// The same schedule on a machine that differs in rates, costs and reservations alone, in a fraction of the time. Only
// length, phases and the bytes of the pools' peaks are filled, as Simulate would. Where the acts do not repeat, it is all
// simulated.
Result<Timeline> SimulateTimes(const Schedule& schedule, const Machine& machine, const AllocatorActs& acts);

}  // namespace stowage

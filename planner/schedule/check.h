// Whether a schedule may run: nothing is read before it was written, nothing overwritten or freed before its last
// reader, by happens-before alone. Simulated time, resources and durations prove nothing.
//
// What orders two executions of steps:
//   - an issuer issues its steps in list order; a step starts after it was issued; `blocking` and wait hold the issuer
//     until an end
//   - a queue starts a step after the end of the one before it
//   - a step starts after the ends of its `after`
//   - the parts of a Reduce start together, when all may, and end together
// Every execution carries a vector clock over queues (how many of their steps have surely ended) and issuers (how many
// steps they have surely issued).
//
// What is checked, in this order (a schedule whose structure is wrong is not executed):
//   1. structure: indices, sections, references, what each kind needs, operands of kernels, slices inside their buffers
//      at the first and the last iteration, groups of Reduce complete
//   2. instances: each (op, pass, rank, micro-batch, tile) a phase requires is computed once per run of the section
//   3. order and memory, execution by execution: each byte read was written, through the same buffer (so a ring's slot
//      that was refilled with another tensor is no longer this one), and the write's end happens-before the read's
//      start; writes likewise after the previous write and all reads since. Root buffers are allocated before use and
//      freed after it. Freeing torch memory is an act of issue: allowed when all users are on the queue it was first
//      used on (a copy from another device's memory does not count: it is on that device's queue), or ordered before
//      what that queue does next, or on a queue recorded with RecordStream, or known to have ended. A slice of a root
//      marked `initial` is written before the start.
//   4. budgets: live root bytes of arena and pageable pools with a budget > 0 (bytes on disk do not count).
//      Torch pools may run over: that is a prediction, not a mistake.
//
// Long loops. A body is executed iteration by iteration while there are at most `max_executions` executions in all.
// After that only its first 3 and last 2 iterations are: a path of orders between iterations i - 1 and i is there for
// all i >= 1 or for none, so for slices that do not move two iterations show all there is. Slices that move (a KV cache
// that grows) are taken as written and read by the skipped iterations, with the clocks of the executed ones that lie as
// far from the next one (2 stands for n - 3, 1 for n - 4, 0 for all before).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/schedule/schedule.h"

namespace stowage {

struct CheckOptions {
  std::int64_t max_executions = 100'000;
  int max_problems = 20;  // stop looking after so many
};

// One sentence each: the step, the buffer, the bytes, the order that is missing.
struct ScheduleProblem {
  ErrorCode code = ErrorCode::kInvalidInput;  // kOutOfMemory: a budget
  StepId step = -1;                           // -1: not about one step
  std::int64_t iteration = -1;                // of the body; -1: not in a body or in all of them
  std::string text;
};

// Empty when the schedule may run. Any schedule may come in, also one read from a hostile file.
std::vector<ScheduleProblem> FindProblems(const Schedule& schedule, const CheckOptions& options = {});

// The first problem, and how many more were found.
Status CheckSchedule(const Schedule& schedule, const CheckOptions& options = {});

}  // namespace stowage

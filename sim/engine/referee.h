// The semantics of engine.h once more, slowly and obviously: the schedule fully unrolled, every question answered by
// looking at all executions, for tests. Durations and dispatch costs only from `fixed` and native_launch; no memory.
#pragma once

#include <vector>

#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

// Spans in issue order. Ends where nothing happens any more; `stuck` if something was left then.
struct RefereeResult {
  std::vector<StepSpan> spans;
  bool stuck = false;
};
RefereeResult Referee(const Schedule& schedule, double native_launch, const std::vector<bool>& resource_shared);

}  // namespace stowage

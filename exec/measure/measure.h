// From the spans of a run to a Timeline: what the simulator predicts, as it was.
//
// Pools: arenas, to the byte. Phases: a phase ends with its last step and starts where the one before it ended, so that
// phases add up although a ring runs ahead across them. Resources: busy while any step that holds it runs; a gap is
// filed under what its next step waited for last (a predecessor or its queue: "waiting for copy"; its own issue:
// "waiting for the issuer"); what follows the last step is "nothing left to do".
#pragma once

#include <vector>

#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct MemoryEvent {
  Seconds at;
  BufferId buffer = -1;
  Bytes bytes;       // negative when freed
  StepId step = -1;  // -1: before the schedule started
};

// `spans` in any order; the result's are sorted by issue, and left out unless `keep_spans`.
Timeline MeasuredTimeline(const Schedule& schedule, std::vector<StepSpan> spans, const std::vector<MemoryEvent>& memory,
                          bool keep_spans);

}  // namespace stowage

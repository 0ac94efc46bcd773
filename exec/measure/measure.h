// From the spans of a run to a Timeline: what the simulator predicts, as it was.
//
// Pools: arenas, to the byte. Phases: a phase ends with its last step and starts where the one before it ended, so that
// phases add up although a ring runs ahead across them. Resources: busy while any step that holds it runs. A gap is
// split in the simulator's words (sim/engine/engine.h): while the step that its next step waited for last ran, and
// until that was noticed, "waiting for a copy" (compute, read); before, what that one waited for, and so on; between
// the last step an issuer waited for and the issue "waiting for the issuer"; behind the last step "nothing left to do".
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

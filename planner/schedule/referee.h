// For tests: decides whether a schedule may run, slowly and obviously, sharing no code with CheckSchedule. All
// iterations are unrolled into a graph of issue, start and end events; its transitive closure is happens-before; every
// pair of accesses is compared, every byte that is read is looked up. Only for schedules of a few hundred executions.
#pragma once

#include <string>

#include "planner/schedule/schedule.h"

namespace stowage {

// Empty when it may run, otherwise one reason why not. Indices must be in range.
std::string RefereeVerdict(const Schedule& schedule);

}  // namespace stowage

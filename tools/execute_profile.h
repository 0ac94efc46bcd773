// The machine that a run is compared with, and the durations it is paced to.
#pragma once

#include <functional>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"

namespace stowage {

// `planned` with the rates of what executes: as planned when paced to it, else as measured here and now (under a
// second).
Result<Machine> ExecutingMachine(const Machine& planned, bool cuda, bool paced);

// How long each step takes on `machine`, for ExecuteOptions::pace. Both must outlive the function.
std::function<Seconds(StepId, std::int64_t)> PaceOf(const Schedule& schedule, const Machine& machine);

}  // namespace stowage

// The machine that a run is compared with, and the durations it is paced to.
#pragma once

#include <functional>
#include <string>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"

namespace stowage {

// `planned` with the rates of what executes. Host devices: as measured here and now, in at most a second, reading `probe_file`
// (a checkpoint file); paced ones: as planned, since the pace makes them so, but for what issuing and allocating cost. CUDA: as planned, the card's own row.
Result<Machine> ExecutingMachine(const Machine& planned, bool cuda, bool paced, const std::string& probe_file);

// How long each step takes on `machine`, for ExecuteOptions::pace. Both must outlive the function.
std::function<Seconds(StepId, std::int64_t)> PaceOf(const Schedule& schedule, const Machine& machine);

}  // namespace stowage

// How much a torch program takes and how fast it is, from the events of one prefill and one decode pass: no step is
// written but those that load, nothing is simulated. For `plan --quick`.
//
//   GPUs   storages alive at once, rounded as the allocator rounds them, what stays, the library's workspace, reservations.
//          The simulation's peak is what the allocator has reserved, so never less: fragmentation is beside it.
//          Simulated over this (sim/rank/closed_form_test.cc): 1.00 to 1.04, of group-offload:leaf up to 1.54.
//   host   what loading, the hooks and each pass hold there at once, to the byte
//   time   one clock for Python and one for each stream, event by event: an operator, a hook, a flush cost Python what
//          dispatch costs; a kernel starts when it is issued and its stream has come so far; a blocking copy holds Python.
//          A segment that is asked for costs a cudaMalloc and, where caches are flushed, a cudaFree: when the sum of what
//          is free is less than what is wanted.
#pragma once

#include <string_view>

#include "planner/strategy/closed_form.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {

// Of the task's last pass. One that does not fit has its peaks and says why not; other errors are LowerTorch's.
Result<ClosedForm> FormOfTorch(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy);

}  // namespace stowage

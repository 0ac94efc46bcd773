// What one step of a schedule costs: its duration from the resources it names, and what its host thread pays to issue
// it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"

namespace stowage {

// Schedule::resources of a machine, found by name; entries point into *machine. An error names the first resource that
// the machine does not have.
Result<std::vector<const Resource*>> BindResources(const Schedule& schedule, const Machine& machine);

// Bytes that a Read, Copy or Reduce moves, as costed: expected_bytes, else the slice written, else the slice read.
AffineBytes CostedBytes(const Step& step);

// True if the step's duration changes with the iteration.
bool DependsOnIteration(const Schedule& schedule, const Step& step);

// The time on one of the step's resources alone: `own` passes whatever the others do, `divided` grows with the number
// of jobs that share the resource.
struct ResourceCost {
  Seconds own;
  Seconds divided;
};

// By kind of step and what the resource offers:
//   Compute         compute rate: roofline               transfer rate: latency + kernel bytes / rate
//   Read, Copy      transfer rate: latency + bytes/rate  compute rate only: LocalCopyDuration
//   Reduce          transfer rate: AllReduceDuration     compute rate: nothing, it is only occupied
// A step with a `fixed` duration has it on each of its resources. `ranks` is the number of steps in a Reduce's group.
ResourceCost CostOn(const Schedule& schedule, const Step& step, std::int64_t iteration, const Resource& resource,
                    int ranks);

// Alone on the machine: the slowest of the step's resources; a `fixed` duration as given; 0 for what acts when issued.
Seconds Duration(const Schedule& schedule, const Step& step, std::int64_t iteration,
                 const std::vector<const Resource*>& resources, int ranks);

// What the issuer pays before the step is issued:
//   native  Read, Copy, Compute, Reduce: native_launch. Allocate, Free in a GPU pool: device_malloc, device_free;
//           Allocate of `bytes` in a pool also populates them
//   torch   Read, Copy, Compute, Reduce: torch_operator; without a queue (host work such as a module hook): torch_hook.
//           Allocate and Free cost nothing by themselves: the simulator adds device_malloc for each new segment
//   both    EmptyCache: empty_cache. Wait, RecordStream, host memory: nothing
Seconds IssueCost(const DispatchCost& dispatch, IssuerKind issuer, const Step& step, PoolKind pool,
                  Bytes bytes = Bytes(0));

}  // namespace stowage

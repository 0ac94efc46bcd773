// The constants of cost.h from measurements: what calibrates a machine, and what shows how good the formulas are.
//
// Both fits minimise the mean relative error |predicted - measured| / measured by a pattern search: from the best point
// of a coarse grid, steps along each constant that halve when none helps. Deterministic; a local minimum, with the grid
// as its referee.
#pragma once

#include <span>

#include "planner/base/units.h"
#include "planner/machine/machine.h"

namespace stowage {

struct MeasuredKernel {
  double flops = 0;
  double bytes = 0;  // each operand once
  Seconds time;
};

// flops_efficiency, memory_efficiency, smoothness and launch of `rate`, whose peaks stay; flops count against its peak
// for `dtype`. At least 4 points, with positive times; fewer leave `rate` as it is.
ComputeRate FitRoofline(std::span<const MeasuredKernel> points, ComputeRate rate, DType dtype);
double MeanError(std::span<const MeasuredKernel> points, const ComputeRate& rate, DType dtype);

struct MeasuredAllReduce {
  Bytes bytes;  // per rank
  int ranks = 0;
  Seconds time;
};

// start, latency (of a hop) and the pinned rate of AllReduceDuration, over all numbers of ranks at once.
TransferRate FitAllReduce(std::span<const MeasuredAllReduce> points);
double MeanError(std::span<const MeasuredAllReduce> points, const TransferRate& rate);

}  // namespace stowage

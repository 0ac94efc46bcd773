// Which steps a prediction is wrong about: the spans of two timelines of the same schedule, laid side by side. (Pools,
// phases and resources are compared by reports/comparison.h.)
#pragma once

#include <cstdint>
#include <vector>

#include "sim/timeline/timeline.h"

namespace stowage {

struct StepError {
  std::int32_t step = -1;       // index into Schedule::steps
  std::int64_t executions = 0;  // that both timelines have
  Seconds predicted;            // start to end, summed over them
  Seconds measured;
  Seconds Difference() const { return measured - predicted; }
};

// The steps whose durations differ, largest absolute difference first (then by step). Executions that only one of the
// two has are left out. Both timelines need their spans.
std::vector<StepError> FindStepErrors(const Timeline& predicted, const Timeline& measured);

}  // namespace stowage

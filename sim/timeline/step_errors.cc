#include "sim/timeline/step_errors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace stowage {

std::vector<StepError> FindStepErrors(const Timeline& predicted, const Timeline& measured) {
  std::map<std::pair<std::int32_t, std::int64_t>, Seconds> durations;
  for (const StepSpan& span : predicted.spans) durations[{span.step, span.iteration}] = span.end - span.start;
  std::map<std::int32_t, StepError> by_step;
  for (const StepSpan& span : measured.spans) {
    const auto found = durations.find({span.step, span.iteration});
    if (found == durations.end()) continue;
    StepError& error = by_step[span.step];
    error.step = span.step;
    ++error.executions;
    error.predicted += found->second;
    error.measured += span.end - span.start;
  }
  std::vector<StepError> errors;
  for (const auto& [step, error] : by_step) {
    if (error.Difference() != Seconds(0)) errors.push_back(error);
  }
  std::stable_sort(errors.begin(), errors.end(), [](const StepError& a, const StepError& b) {
    return std::abs(a.Difference().value()) > std::abs(b.Difference().value());
  });
  return errors;
}

}  // namespace stowage

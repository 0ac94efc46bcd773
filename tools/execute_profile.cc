#include "tools/execute_profile.h"

#include "planner/base/check.h"
#include "planner/cost/step_cost.h"

namespace stowage {

Result<Machine> ExecutingMachine(const Machine& planned, bool cuda, bool paced) {
  (void)cuda;
  (void)paced;
  return planned;
}

std::function<Seconds(StepId, std::int64_t)> PaceOf(const Schedule& schedule, const Machine& machine) {
  auto bound = BindResources(schedule, machine);
  STOWAGE_CHECK(bound.ok());
  return [&schedule, resources = *std::move(bound)](StepId step, std::int64_t iteration) {
    return Duration(schedule, schedule.steps[step], iteration, resources, 1);
  };
}

}  // namespace stowage

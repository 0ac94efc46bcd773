#include "tools/execute_profile.h"

#include "exec/measure/calibrate.h"
#include "planner/base/check.h"
#include "planner/cost/step_cost.h"

namespace stowage {

Result<Machine> ExecutingMachine(const Machine& planned, bool cuda, bool paced, const std::string& probe_file) {
  if (cuda) return planned;
  STOWAGE_TRY(const HostRates rates, CalibrateHost(probe_file));
  return paced ? WithHostDispatch(planned, rates) : WithHostRates(planned, rates);
}

std::function<Seconds(StepId, std::int64_t)> PaceOf(const Schedule& schedule, const Machine& machine) {
  auto bound = BindResources(schedule, machine);
  STOWAGE_CHECK(bound.ok());
  return [&schedule, resources = *std::move(bound)](StepId step, std::int64_t iteration) {
    return Duration(schedule, schedule.steps[step], iteration, resources, 1);
  };
}

}  // namespace stowage

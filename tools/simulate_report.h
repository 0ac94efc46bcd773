// From a lowered strategy to what `simulate` shows of it.
#pragma once

#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/strategy.h"
#include "reports/compare_report.h"
#include "reports/simulation_report.h"
#include "tools/common/task.h"

namespace stowage {

struct SimulateReportOptions {
  bool all_strategies = false;  // rank the others, too
};

// Simulates the schedule on the task's machine, at both ends of its intervals, and on machines that would help.
Result<SimulationReport> SimulateReport(const LoadedTask& task, Lowered lowered,
                                        const SimulateReportOptions& options = {});

// Each of `names` lowered and simulated in full. kInvalidInput for a name that there is not; a strategy that does not fit
// is a row with the reason.
Result<CompareReport> CompareStrategies(const LoadedTask& task, const std::vector<std::string>& names);

}  // namespace stowage

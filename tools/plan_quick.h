// `plan` without simulation: every strategy by its closed form. For --quick, and for models of which only sizes are
// known.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/strategy/strategy.h"
#include "reports/plan_report.h"

namespace stowage {

// Why no strategy can say how long a pass of this model takes: the reason in one sentence, or nothing if one can.
std::optional<std::string> OperationsUnknown(const PlanningTask& task);

// `basis` is not kSimulated; with kSizesOnly there are no times, `reason` says why, and strategies that cannot say
// anything from sizes alone are left out, and named.
PlanReport QuickReportOf(const PlanningTask& task, const std::vector<Strategy>& strategies, PlanBasis basis,
                         const std::string& reason = "");

}  // namespace stowage

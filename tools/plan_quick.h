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

// Strategies without a closed form are left out, and named. `basis` is not kSimulated; with kSizesOnly there are no
// times, and `reason` says why.
PlanReport QuickReportOf(const PlanningTask& task, const std::vector<Strategy>& strategies, PlanBasis basis,
                         const std::string& reason = "");

}  // namespace stowage

// The `plan` tool's screen. Strategies are shown in the order given (SortBestFirst); lines are wrapped at 100 columns
// except tables.
#pragma once

#include <string>

#include "reports/plan_report.h"

namespace stowage {

// `colour`: escape sequences; set it only for a terminal.
std::string PlanText(const PlanReport& report, bool colour);

}  // namespace stowage

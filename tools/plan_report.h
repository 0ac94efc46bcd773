// From ranked strategies to what the `plan` tool shows.
#pragma once

#include <vector>

#include "reports/plan_report.h"
#include "sim/rank/rank.h"

namespace stowage {

ModelLine ModelLineOf(const Model& model);

// `ranked` as Rank gives it: best first. The first that fits is the chosen one.
PlanReport ReportOf(const PlanningTask& task, const std::vector<Ranked>& ranked);

}  // namespace stowage

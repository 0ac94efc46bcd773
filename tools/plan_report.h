// From ranked strategies to what the `plan` tool shows.
#pragma once

#include <optional>
#include <vector>

#include "reports/plan_report.h"
#include "sim/rank/rank.h"

namespace stowage {

ModelLine ModelLineOf(const Model& model);

// The number formats of the model beside what the request needs of the GPUs, their budgets added up. `ring`: what the
// chosen strategy streams the rest through, beside which weights stay; absent: it does not stream.
std::vector<FormatLine> FormatsOf(const PlanningTask& task, std::optional<Bytes> ring);

// A row of the table each, in the same order.
std::vector<StrategyLine> StrategyLinesOf(const std::vector<Ranked>& ranked);

// `ranked` as Rank gives it: best first. The first that fits is the chosen one.
PlanReport ReportOf(const PlanningTask& task, const std::vector<Ranked>& ranked);

}  // namespace stowage

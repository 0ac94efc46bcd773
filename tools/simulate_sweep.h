// `simulate --sweep POOL=FROM:TO:STEP`: every strategy at every budget.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/strategy.h"
#include "reports/sweep_report.h"
#include "tools/common/task.h"

namespace stowage {

struct Sweep {
  std::string pool;            // "gpu0" or "host"
  std::vector<Bytes> budgets;  // increasing
};

// "gpu=4GB:24GB:1GB" or "cpu=…": FROM and TO included. kInvalidInput names what is wrong; at most 256 budgets.
Result<Sweep> ParseSweep(std::string_view text);

// Ranks `strategies` with each budget in place of the machine's own; all that fits is a point.
SweepReport RunSweep(const LoadedTask& task, const std::vector<Strategy>& strategies, const Sweep& sweep);

}  // namespace stowage

#include "tools/simulate_sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "planner/machine/size.h"
#include "planner/strategy/budget_probe.h"
#include "sim/rank/pareto.h"
#include "sim/rank/rank.h"
#include "tools/common/threads.h"
#include "tools/plan_report.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostBudgets = 256;

Error Bad(std::string_view text, std::string_view why) {
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' {}; write gpu=4GB:24GB:1GB or cpu=8GB:64GB:8GB", text, why)};
}

Bytes PeakIn(const Ranked& ranked, std::string_view pool) {
  for (const PoolTimeline& p : ranked.timeline.pools) {
    if (p.pool == pool) return p.peak.bytes;
  }
  return Bytes(0);
}

void AddPoints(const LoadedTask& task, Bytes budget, const std::vector<Ranked>& ranked, SweepReport& report) {
  for (const Ranked& r : ranked) {
    if (!r.fits) continue;
    report.points.push_back({.budget = budget,
                             .strategy = r.parameters.empty() ? r.name : r.name + ":" + r.parameters,
                             .gpu = PeakIn(r, "gpu0"),
                             .host = PeakIn(r, "host"),
                             .time = r.Total(task.request)});
  }
}

}  // namespace

Result<Sweep> ParseSweep(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return Bad(text, "names no pool");
  Sweep sweep;
  const std::string_view pool = text.substr(0, equals);
  if (pool != "gpu" && pool != "cpu") return Bad(text, "names a pool other than gpu and cpu");
  sweep.pool = pool == "gpu" ? "gpu0" : "host";
  std::array<Bytes, 3> sizes;
  std::string_view rest = text.substr(equals + 1);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t colon = rest.find(':');
    if ((colon == std::string_view::npos) != (i + 1 == sizes.size())) return Bad(text, "is not FROM:TO:STEP");
    STOWAGE_TRY(sizes[i], ParseSize(rest.substr(0, colon)));
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  }
  const auto [from, to, step] = sizes;
  if (step <= Bytes(0) || from <= Bytes(0)) return Bad(text, "has a size of nothing");
  if (to < from) return Bad(text, "ends below where it starts");
  const std::int64_t count = (to - from).value() / step.value() + 1;
  if (count > kMostBudgets) return Bad(text, fmt::format("is {} budgets, {} are possible", count, kMostBudgets));
  for (std::int64_t i = 0; i < count; ++i) sweep.budgets.push_back(from + step * i);
  return sweep;
}

SweepReport RunSweep(const LoadedTask& task, const std::vector<Strategy>& strategies, const Sweep& sweep) {
  SweepReport report{.model = ModelLineOf(task.model),
                     .request = task.request,
                     .machine = task.machine.name,
                     .pool = sweep.pool,
                     .budgets = sweep.budgets};
  for (const Bytes budget : sweep.budgets) {
    BudgetProbe at(task.task());
    at.pool(sweep.pool).budget = budget;
    AddPoints(task, budget, Rank(strategies, at.task(), OnAllCores, Intervals::kOfNone), report);
  }
  std::vector<Costs> costs;
  for (const SweepPoint& p : report.points) {
    costs.push_back({static_cast<double>(p.gpu.value()), p.time.value(), static_cast<double>(p.host.value())});
  }
  report.front = ParetoFront(costs);
  return report;
}

}  // namespace stowage

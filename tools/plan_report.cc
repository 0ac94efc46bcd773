#include "tools/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "planner/base/text.h"
#include "planner/families/families.h"

namespace stowage {
namespace {

ModelLine LineOf(const Model& model) {
  std::set<std::string> dtypes;
  for (const Tensor& t : model.tensors) {
    if (!t.buffer) dtypes.insert(std::string(Name(t.dtype)));
  }
  const std::vector<std::string> names(dtypes.begin(), dtypes.end());
  return {.name = model.name,
          .family = model.family,
          .parameters = model.Parameters(),
          .weights = model.WeightBytes(),
          .dtype = Join(names, ", "),
          .layers = model.shape.layers,
          .kv_per_token = CacheBytesPerPosition(model)};
}

std::string Spelled(const Ranked& r) { return r.parameters.empty() ? r.name : r.name + ":" + r.parameters; }

StrategyLine LineOf(const Ranked& r) {
  StrategyLine line{.name = Spelled(r), .runtime = r.runtime, .fits = r.fits, .limit = r.limit, .why_not = r.why_not};
  for (const PoolTimeline& p : r.timeline.pools) {
    if (p.pool != "disk") line.peak.push_back({p.pool, p.peak.bytes});
  }
  if (r.fits) {
    line.first_token = r.first_token;
    line.per_token = r.per_token;
  }
  return line;
}

// The chosen plan's arenas, reservations and free bytes of one pool.
PoolContents ContentsOf(const std::string& pool, Bytes budget, const Plan& plan, const Machine& machine) {
  PoolContents out{.pool = pool, .budget = budget};
  Bytes free = budget;
  const auto add = [&](std::string what, Bytes bytes) {
    if (bytes == Bytes(0)) return;
    free -= bytes;
    out.parts.push_back({std::move(what), bytes});
  };
  for (const ArenaPlan& a : plan.arenas) {
    if (a.pool == pool) add(a.name, a.bytes);
  }
  for (const Reservation& r : machine.reservations) {
    if (r.pool == pool) add(r.name, r.bytes);
  }
  add("free", free);
  return out;
}

std::vector<std::string> WouldHelp(const PlanningTask& task, const std::vector<Ranked>& ranked) {
  std::vector<std::string> out;
  const auto gpu = task.machine->pools[task.machine->FindPool("gpu0")].budget;
  for (const Ranked& r : ranked) {
    if (r.fits || r.runtime != "native" || !r.smallest_gpu_budget || *r.smallest_gpu_budget <= gpu) continue;
    out.push_back(fmt::format("{} more on gpu0 ({} in all) and '{}' fits.", FormatBytes(*r.smallest_gpu_budget - gpu),
                              FormatBytes(*r.smallest_gpu_budget), r.name));
  }
  const bool wide = std::any_of(task.model->tensors.begin(), task.model->tensors.end(),
                                [](const Tensor& t) { return !t.buffer && !IsPacked(t.dtype) && Bits(t.dtype) > 16; });
  if (wide) {
    out.push_back(fmt::format("--dtype bf16 halves the fp32 weights: {} instead of {}.",
                              FormatBytes(task.model->WeightBytes() / 2), FormatBytes(task.model->WeightBytes())));
  }
  return out;
}

}  // namespace

PlanReport ReportOf(const PlanningTask& task, const std::vector<Ranked>& ranked) {
  PlanReport report{.model = LineOf(*task.model), .request = task.request, .machine = *task.machine};
  for (const Ranked& r : ranked) report.strategies.push_back(LineOf(r));
  report.would_help = WouldHelp(task, ranked);
  if (ranked.empty() || !ranked[0].fits) {
    for (const Ranked& r : ranked) {
      if (!r.smallest_gpu_budget) continue;
      if (!report.smallest_budget || *r.smallest_gpu_budget < report.smallest_budget->bytes) {
        report.smallest_budget = SmallestBudget{"gpu0", *r.smallest_gpu_budget, r.name};
      }
    }
    return report;
  }
  const Ranked& best = ranked[0];
  report.chosen = Spelled(best);
  for (const auto& [pool, budget] : best.plan->budgets) {
    report.contents.push_back(ContentsOf(pool, budget, *best.plan, *task.machine));
  }
  for (const ArenaPlan& a : best.plan->arenas) {
    if (a.kind == "activations") report.packing.push_back({a.pool + " " + a.name, a.bytes, a.lower_bound});
  }
  return report;
}

}  // namespace stowage

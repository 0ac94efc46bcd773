#include "tools/simulate_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/machine/spread.h"
#include "planner/strategy/registry.h"
#include "sim/engine/engine.h"
#include "sim/rank/rank.h"
#include "tools/common/threads.h"
#include "tools/plan_report.h"

namespace stowage {
namespace {

constexpr double kFaster = 2;
constexpr double kBusyEnough = 0.05;       // of the run: a resource that works less holds nothing up
constexpr double kWorthSaying = 0.03;      // of the time after loading
constexpr double kLoadWorthSaying = 0.2;   // of the time to load: it happens once
constexpr std::size_t kMostResources = 2;  // each costs a simulation

struct Gain {
  double share;  // of the time it is about
  std::string sentence;
};

Seconds LoadOf(const Timeline& timeline) {
  const PhaseTimeline* load = FindPhase(timeline, "load");
  return load == nullptr ? Seconds(0) : load->seconds;
}

double ShareSaved(Seconds before, Seconds after) {
  return before > Seconds(0) ? 1 - after.value() / before.value() : 0;
}

// What the schedule gains on another machine; nothing that is not worth a line.
std::optional<Gain> GainOf(const std::string& what, const Timeline& before, const Schedule& schedule,
                           const Machine& machine) {
  const Result<Timeline> after = Simulate(schedule, machine);
  if (!after) return std::nullopt;
  const Seconds load = LoadOf(before), load_after = LoadOf(*after);
  const Seconds work = before.length - load, work_after = after->length - load_after;
  const auto gain = [&](const char* about, Seconds old_time, Seconds new_time) {
    const double share = ShareSaved(old_time, new_time);
    return Gain{share, fmt::format("{}: {} in place of {} {} ({:.0f} % less).", what, FormatSeconds(new_time),
                                   FormatSeconds(old_time), about, share * 100)};
  };
  if (ShareSaved(work, work_after) >= kWorthSaying) return gain("after loading", work, work_after);
  if (ShareSaved(load, load_after) >= kLoadWorthSaying) return gain("to load", load, load_after);
  return std::nullopt;
}

// The busiest resources first.
std::vector<std::string> BusyResources(const Timeline& timeline) {
  std::vector<const ResourceTimeline*> busy;
  for (const ResourceTimeline& r : timeline.resources) {
    if (r.busy > timeline.length * kBusyEnough) busy.push_back(&r);
  }
  std::stable_sort(busy.begin(), busy.end(),
                   [](const ResourceTimeline* a, const ResourceTimeline* b) { return a->busy > b->busy; });
  std::vector<std::string> names;
  for (const ResourceTimeline* r : busy) names.push_back(r->resource);
  if (names.size() > kMostResources) names.resize(kMostResources);
  return names;
}

bool WaitsForIssuers(const Timeline& timeline) {
  return std::any_of(timeline.resources.begin(), timeline.resources.end(), [&](const ResourceTimeline& r) {
    const auto cause = r.idle_causes.find("waiting for the issuer");
    return r.busy > timeline.length * kBusyEnough && cause != r.idle_causes.end() &&
           cause->second > timeline.length * kWorthSaying;
  });
}

Machine QuickerIssuers(Machine machine) {
  DispatchCost& d = machine.dispatch;
  for (Seconds* cost :
       {&d.native_launch, &d.torch_operator, &d.torch_hook, &d.device_malloc, &d.device_free, &d.empty_cache}) {
    *cost = *cost / kFaster;
  }
  return machine;
}

// The memory with which nothing would be streamed any more.
std::optional<std::string> MemoryForAll(const PlanningTask& task) {
  const Machine& machine = *task.machine;
  const Bytes budget = machine.pools[static_cast<std::size_t>(machine.FindPool("gpu0"))].budget;
  for (const Strategy& s : AllStrategies()) {
    if (s.name != "resident") continue;
    const Result<Bytes> needed = s.smallest_gpu_budget(task);
    if (!needed || *needed <= budget) return std::nullopt;
    return fmt::format("+{} of gpu0 ({} in all) and all of it is resident.", FormatBytes(*needed - budget),
                       FormatBytes(*needed));
  }
  return std::nullopt;
}

// Both ends, where the machine has intervals.
struct Ends {
  std::optional<Timeline> low, high;
};
Result<Ends> SimulateEnds(const Schedule& schedule, const Machine& machine) {
  if (!HasIntervals(machine)) return Ends{};
  const std::array<Machine, 2> machines = {AtBest(machine), AtWorst(machine)};
  std::array<std::optional<Result<Timeline>>, 2> ends;
  OnAllCores(ends.size(), [&](std::size_t i) { ends[i] = Simulate(schedule, machines[i]); });
  STOWAGE_TRY(Timeline low, *std::move(ends[0]));
  STOWAGE_TRY(Timeline high, *std::move(ends[1]));
  return Ends{std::move(low), std::move(high)};
}

std::string OutOfMemoryText(const OutOfMemory& oom) {
  return fmt::format("out of memory in {} at '{}': {} wanted, {} of {} left", oom.phase, oom.step,
                     FormatBytes(oom.requested), FormatBytes(oom.available), oom.pool);
}

}  // namespace

std::vector<std::string> WhatWouldHelp(const PlanningTask& task, const Schedule& schedule, const Timeline& timeline) {
  std::vector<std::string> out;
  if (const auto memory = MemoryForAll(task)) out.push_back(*memory);
  if (timeline.out_of_memory) return out;
  std::vector<std::pair<std::string, Machine>> changes;
  for (const std::string& name : BusyResources(timeline)) {
    changes.emplace_back(name + " twice as fast", Faster(*task.machine, name, kFaster));
  }
  if (WaitsForIssuers(timeline)) {
    changes.emplace_back("host threads that issue twice as fast", QuickerIssuers(*task.machine));
  }
  std::vector<std::optional<Gain>> found(changes.size());
  OnAllCores(changes.size(),
             [&](std::size_t i) { found[i] = GainOf(changes[i].first, timeline, schedule, changes[i].second); });
  std::vector<Gain> gains;
  for (std::optional<Gain>& gain : found) {
    if (gain) gains.push_back(*std::move(gain));
  }
  std::stable_sort(gains.begin(), gains.end(), [](const Gain& a, const Gain& b) { return a.share > b.share; });
  for (Gain& gain : gains) out.push_back(std::move(gain.sentence));
  return out;
}

Result<SimulationReport> SimulateReport(const LoadedTask& task, Lowered lowered, const SimulateReportOptions& options) {
  SimulationReport report{.model = ModelLineOf(task.model),
                          .request = task.request,
                          .machine = task.machine,
                          .strategy = lowered.plan.strategy,
                          .schedule = std::move(lowered.schedule)};
  STOWAGE_TRY(report.timeline, Simulate(report.schedule, task.machine, {.record_spans = true, .record_curves = true}));
  STOWAGE_TRY(Ends ends, SimulateEnds(report.schedule, task.machine));
  report.low = std::move(ends.low);
  report.high = std::move(ends.high);
  report.would_help = WhatWouldHelp(task.task(), report.schedule, report.timeline);
  if (options.all_strategies)
    report.strategies = StrategyLinesOf(Rank(StrategiesFor(task.machine), task.task(), OnAllCores));
  return report;
}

Result<CompareReport> CompareStrategies(const LoadedTask& task, const std::vector<std::string>& names) {
  CompareReport report{.model = ModelLineOf(task.model), .request = task.request, .machine = task.machine.name};
  const std::vector<Strategy> all = AllStrategies();
  for (const std::string& name : names) {
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, name));
    ComparedStrategy row{.name = name, .runtime = choice.strategy->runtime};
    Result<Lowered> lowered = LowerBest(*choice.strategy, task.task(), choice.parameters);
    if (!lowered) {
      row.why_not = lowered.error().message;
      report.strategies.push_back(std::move(row));
      continue;
    }
    row.name = lowered->plan.strategy;
    STOWAGE_TRY(row.timeline, Simulate(lowered->schedule, task.machine));
    STOWAGE_TRY(Ends ends, SimulateEnds(lowered->schedule, task.machine));
    row.low = std::move(ends.low);
    row.high = std::move(ends.high);
    if (row.timeline->out_of_memory) row.why_not = OutOfMemoryText(*row.timeline->out_of_memory);
    report.strategies.push_back(std::move(row));
  }
  return report;
}

}  // namespace stowage

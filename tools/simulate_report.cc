#include "tools/simulate_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/machine/spread.h"
#include "planner/strategy/native/resident.h"
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

// What a change gains; nothing that is not worth a line.
std::optional<Gain> GainOf(const std::string& what, const Timeline& before, const Timeline& after) {
  const Seconds load = LoadOf(before), load_after = LoadOf(after);
  const Seconds work = before.length - load, work_after = after.length - load_after;
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
  const Result<Bytes> needed = ResidentStrategy().smallest_gpu_budget(task);
  if (!needed || *needed <= budget) return std::nullopt;
  return fmt::format("+{} of gpu0 ({} in all) and all of it is resident.", FormatBytes(*needed - budget),
                     FormatBytes(*needed));
}

// The same schedule on each of the machines, times alone.
Result<std::vector<Timeline>> TimesOn(const std::vector<Machine>& machines, const Schedule& schedule,
                                      const AllocatorActs& acts) {
  std::vector<std::optional<Result<Timeline>>> times(machines.size());
  OnAllCores(machines.size(), [&](std::size_t i) { times[i] = SimulateTimes(schedule, machines[i], acts); });
  std::vector<Timeline> out;
  for (std::optional<Result<Timeline>>& time : times) {
    STOWAGE_TRY(Timeline timeline, *std::move(time));
    out.push_back(std::move(timeline));
  }
  return out;
}

// The best and the worst, where the machine has intervals.
std::vector<Machine> EndsOf(const Machine& machine) {
  if (!HasIntervals(machine)) return {};
  return {AtBest(machine), AtWorst(machine)};
}

// What might help, and the machine that has it.
using Changes = std::vector<std::pair<std::string, Machine>>;
Changes ChangesOf(const Machine& machine, const Timeline& timeline) {
  Changes changes;
  if (timeline.out_of_memory) return changes;
  for (const std::string& name : BusyResources(timeline)) {
    changes.emplace_back(name + " twice as fast", Faster(machine, name, kFaster));
  }
  if (WaitsForIssuers(timeline)) {
    changes.emplace_back("host threads that issue twice as fast", QuickerIssuers(machine));
  }
  return changes;
}

// Sentences, the largest gain first: more of a pool's memory, and each busy resource twice as fast, simulated.
std::vector<std::string> WouldHelp(const PlanningTask& task, const Timeline& before, const Changes& changes,
                                   std::span<const Timeline> after) {
  std::vector<std::string> out;
  if (const auto memory = MemoryForAll(task)) out.push_back(*memory);
  std::vector<Gain> gains;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (auto gain = GainOf(changes[i].first, before, after[i])) gains.push_back(*std::move(gain));
  }
  std::stable_sort(gains.begin(), gains.end(), [](const Gain& a, const Gain& b) { return a.share > b.share; });
  for (Gain& gain : gains) out.push_back(std::move(gain.sentence));
  return out;
}

std::string OutOfMemoryText(const OutOfMemory& oom) {
  return fmt::format("out of memory in {} at '{}': {} wanted, {} of {} left", oom.phase, oom.step,
                     FormatBytes(oom.requested), FormatBytes(oom.available), oom.pool);
}

}  // namespace

Result<SimulationReport> SimulateReport(const LoadedTask& task, Lowered lowered, const SimulateReportOptions& options) {
  SimulationReport report{.model = ModelLineOf(task.model),
                          .request = task.request,
                          .machine = task.machine,
                          .strategy = lowered.plan.strategy,
                          .schedule = std::move(lowered.schedule)};
  AllocatorActs acts;
  STOWAGE_TRY(report.timeline, Simulate(report.schedule, task.machine,
                                        {.record_spans = true, .record_curves = true, .record_acts = &acts}));
  std::vector<Machine> machines = EndsOf(task.machine);
  const std::size_t ends = machines.size();
  const Changes changes = ChangesOf(task.machine, report.timeline);
  for (const auto& [what, machine] : changes) machines.push_back(machine);
  STOWAGE_TRY(std::vector<Timeline> times, TimesOn(machines, report.schedule, acts));
  report.would_help = WouldHelp(task.task(), report.timeline, changes, std::span(times).subspan(ends));
  if (ends > 0) {
    report.low = std::move(times[0]);
    report.high = std::move(times[1]);
  }
  if (options.all_strategies)
    report.strategies = StrategyLinesOf(Rank(StrategiesFor(task.machine), task.task(), OnAllCores, Intervals::kOfNone));
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
    AllocatorActs acts;
    STOWAGE_TRY(row.timeline, Simulate(lowered->schedule, task.machine, {.record_acts = &acts}));
    STOWAGE_TRY(std::vector<Timeline> ends, TimesOn(EndsOf(task.machine), lowered->schedule, acts));
    if (!ends.empty()) {
      row.low = std::move(ends[0]);
      row.high = std::move(ends[1]);
    }
    if (row.timeline->out_of_memory) row.why_not = OutOfMemoryText(*row.timeline->out_of_memory);
    report.strategies.push_back(std::move(row));
  }
  return report;
}

}  // namespace stowage

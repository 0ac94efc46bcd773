#include "sim/rank/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/text.h"
#include "planner/machine/spread.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

// When each decode pass of the sample ended: its last kernel.
std::vector<Seconds> PassEnds(const Schedule& schedule, const Timeline& timeline, const Phase& decode,
                              std::int64_t passes) {
  std::vector<Seconds> ends(static_cast<std::size_t>(passes));
  for (const StepSpan& span : timeline.spans) {
    const Step& step = schedule.steps[span.step];
    const bool of_a_pass = step.kind == StepKind::kCompute && step.instance.op >= 0;  // torch's hooks are of none
    if (!of_a_pass || span.step < decode.prologue.begin || span.step >= decode.epilogue.end) {
      continue;
    }
    std::int64_t pass = step.instance.pass;
    if (span.step >= decode.body.begin) pass += decode.prologue.passes + span.iteration * decode.body.passes;
    if (span.step >= decode.epilogue.begin) pass += decode.iterations * decode.body.passes;
    if (pass < passes) ends[pass] = std::max(ends[pass], span.end);
  }
  return ends;
}

// The stretch of the sample that stands for the whole request: its decode passes after the first one, or the prefill.
struct Steady {
  Seconds begin, end;
  std::int64_t passes = 0;  // decode passes; 0: it is the prefill
};

Steady SteadyOf(const PlanningTask& sample, const Schedule& schedule, const Timeline& timeline) {
  const PhaseTimeline* prefill = FindPhase(timeline, "prefill");
  const PhaseTimeline* decode = FindPhase(timeline, "decode");
  if (decode == nullptr || decode->iterations == 0) {
    return prefill == nullptr ? Steady{Seconds(0), timeline.length}
                              : Steady{prefill->start, prefill->start + prefill->seconds};
  }
  const std::int64_t passes = sample.LoweredPasses();
  if (passes > 1 && passes == sample.last_decode_passes) {
    for (const Phase& phase : schedule.phases) {
      if (phase.name != "decode") continue;
      const std::vector<Seconds> ends = PassEnds(schedule, timeline, phase, passes);
      return {ends.front(), ends.back(), passes - 1};
    }
  }
  return {decode->start, decode->start + decode->seconds, passes};
}

// The resource that is busiest in the steady stretch.
std::string Limit(const Schedule& schedule, const Timeline& timeline, const Steady& steady) {
  if (schedule.resources.empty() || steady.end <= steady.begin) return "";
  std::vector<Seconds> busy(schedule.resources.size());
  for (const StepSpan& span : timeline.spans) {
    const Seconds held = std::min(span.end, steady.end) - std::max(span.start, steady.begin);
    if (held <= Seconds(0)) continue;
    for (const std::int16_t r : schedule.steps[span.step].resources) {
      if (r >= 0) busy[static_cast<std::size_t>(r)] += held;
    }
  }
  const auto busiest = std::max_element(busy.begin(), busy.end());
  const std::string& name = schedule.resources[static_cast<std::size_t>(busiest - busy.begin())];
  // Jobs that share a resource overlap.
  const double share = std::min(1.0, busiest->value() / (steady.end - steady.begin).value());
  return fmt::format("{}{} busy {}{:.0f} %", share >= 0.5 ? "" : "issuing: ", name, share >= 0.5 ? "" : "only ",
                     share * 100);
}

Pace PaceOf(const Timeline& timeline, const Steady& steady) {
  Pace out;
  if (const PhaseTimeline* prefill = FindPhase(timeline, "prefill")) out.first_token = prefill->seconds;
  if (steady.passes > 0) out.per_token = (steady.end - steady.begin) / static_cast<double>(steady.passes);
  return out;
}

// The pace of the sample on another machine; absent when it does not run there to its end.
std::optional<Pace> PaceOn(const Machine& machine, const PlanningTask& sample, const Schedule& schedule) {
  const Result<Timeline> timeline = Simulate(schedule, machine, {.record_spans = true});
  if (!timeline || timeline->out_of_memory) return std::nullopt;
  return PaceOf(*timeline, SteadyOf(sample, schedule, *timeline));
}

// Fills what the simulation says of one lowered candidate.
void Note(const PlanningTask& sample, const Schedule& schedule, Timeline timeline, Ranked& out) {
  out.timeline = std::move(timeline);
  out.fits = !out.timeline.out_of_memory;
  if (!out.fits) {
    const OutOfMemory& oom = *out.timeline.out_of_memory;
    out.why_not = fmt::format("out of memory in {} at '{}': {} wanted, {} of {} left", oom.phase, oom.step,
                              FormatBytes(oom.requested), FormatBytes(oom.available), oom.pool);
  }
  const Steady steady = SteadyOf(sample, schedule, out.timeline);
  const Pace pace = PaceOf(out.timeline, steady);
  out.first_token = pace.first_token;
  out.per_token = pace.per_token;
  out.limit = Limit(schedule, out.timeline, steady);
}

PlanningTask SampleOf(const Strategy& strategy, const PlanningTask& task) {
  PlanningTask sample = task;
  sample.last_decode_passes = strategy.sampled_passes;
  return sample;
}

// The best candidate, and its sample's schedule; none when no candidate could be lowered and simulated.
struct Choice {
  Ranked ranked;
  std::size_t strategy = 0;  // index
  Schedule schedule;
};

void AddIntervals(const Strategy& strategy, const PlanningTask& task, Choice& choice) {
  if (!choice.ranked.fits || !HasIntervals(*task.machine)) return;
  const PlanningTask sample = SampleOf(strategy, task);
  choice.ranked.low = PaceOn(AtBest(*task.machine), sample, choice.schedule);
  choice.ranked.high = PaceOn(AtWorst(*task.machine), sample, choice.schedule);
}

Choice Choose(const Strategy& strategy, const PlanningTask& task) {
  const PlanningTask sample = SampleOf(strategy, task);
  Ranked best{.name = strategy.name, .runtime = strategy.runtime};
  Schedule best_schedule;
  std::vector<std::string> candidates = strategy.candidates(sample);
  if (candidates.empty()) candidates.emplace_back();
  for (const std::string& parameters : candidates) {
    Result<Lowered> lowered = strategy.lower(sample, parameters);
    if (!lowered) {
      if (!best.fits) best.why_not = lowered.error().message;
      if (lowered.error().code == ErrorCode::kInvalidInput) best.refused = true;
      continue;
    }
    Result<Timeline> timeline = Simulate(lowered->schedule, *sample.machine, {.record_spans = true});
    if (!timeline) {
      if (!best.fits) best.why_not = timeline.error().message;
      continue;
    }
    Ranked candidate{.name = strategy.name, .runtime = strategy.runtime, .parameters = parameters};
    Note(sample, lowered->schedule, *std::move(timeline), candidate);
    candidate.plan = std::move(lowered->plan);
    const bool better =
        candidate.fits != best.fits ? candidate.fits : candidate.Total(sample.request) < best.Total(sample.request);
    if (!better && !best.timeline.phases.empty()) continue;
    best = std::move(candidate);
    best_schedule = std::move(lowered->schedule);
  }
  if (strategy.smallest_gpu_budget) {
    if (const Result<Bytes> smallest = strategy.smallest_gpu_budget(sample)) best.smallest_gpu_budget = *smallest;
  }
  if (strategy.smallest_gpu_budgets) {
    if (Result<std::vector<Bytes>> smallest = strategy.smallest_gpu_budgets(sample)) {
      best.smallest_gpu_budgets = *std::move(smallest);
    }
  }
  if (!best.fits) {
    if (strategy.smallest_host_budget) {
      if (const Result<Bytes> smallest = strategy.smallest_host_budget(sample)) best.smallest_host_budget = *smallest;
    }
  }
  return {.ranked = std::move(best), .schedule = std::move(best_schedule)};
}

}  // namespace

Seconds Ranked::Total(const Request& request) const {
  return first_token + per_token.value_or(Seconds(0)) * static_cast<double>(request.DecodePasses());
}

void OneAfterTheOther(std::size_t count, const std::function<void(std::size_t)>& job) {
  for (std::size_t i = 0; i < count; ++i) job(i);
}

std::vector<Ranked> Rank(const std::vector<Strategy>& strategies, const PlanningTask& task, const ForEach& for_each,
                         Intervals intervals) {
  TaskCache cache;
  PlanningTask shared = task;
  shared.cache = &cache;
  std::vector<Choice> choices(strategies.size());
  for_each(strategies.size(), [&](std::size_t i) {
    choices[i] = Choose(strategies[i], shared);
    choices[i].strategy = i;
    if (intervals == Intervals::kOfAll) AddIntervals(strategies[i], shared, choices[i]);
    if (intervals != Intervals::kOfTheBest) choices[i].schedule = {};
  });
  std::stable_sort(choices.begin(), choices.end(), [&](const Choice& a, const Choice& b) {
    if (a.ranked.fits != b.ranked.fits) return a.ranked.fits;
    return a.ranked.fits && a.ranked.Total(task.request) < b.ranked.Total(task.request);
  });
  if (intervals == Intervals::kOfTheBest && !choices.empty()) {
    AddIntervals(strategies[choices[0].strategy], shared, choices[0]);
  }
  std::vector<Ranked> out;
  for (Choice& choice : choices) out.push_back(std::move(choice.ranked));
  return out;
}

Result<Lowered> LowerBest(const Strategy& strategy, const PlanningTask& task, std::string_view parameters) {
  if (!parameters.empty()) return strategy.lower(task, parameters);
  TaskCache cache;
  PlanningTask shared = task;
  shared.cache = &cache;
  return strategy.lower(shared, Choose(strategy, shared).ranked.parameters);
}

}  // namespace stowage

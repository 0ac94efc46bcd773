#include "sim/rank/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/text.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

// The first one finds a ring that the prefill filled; the others show the steady state.
constexpr std::int64_t kSampledPasses = 3;

std::string Limit(const Timeline& t) {
  const ResourceTimeline* busiest = nullptr;
  for (const ResourceTimeline& r : t.resources) {
    if (busiest == nullptr || r.busy > busiest->busy) busiest = &r;
  }
  if (busiest == nullptr || t.length <= Seconds(0)) return "";
  const double share = busiest->busy.value() / t.length.value();
  if (share >= 0.5) return fmt::format("{} busy {:.0f} %", busiest->resource, share * 100);
  return fmt::format("issuing: {} busy only {:.0f} %", busiest->resource, share * 100);
}

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

// The mean time of the sample's passes after the first one.
std::optional<Seconds> PerToken(const PlanningTask& sample, const Schedule& schedule, const Timeline& timeline) {
  const PhaseTimeline* run = FindPhase(timeline, "decode");
  if (run == nullptr || run->iterations == 0) return std::nullopt;
  const std::int64_t passes = sample.LoweredPasses();
  if (passes < kSampledPasses) return run->seconds / static_cast<double>(passes);
  for (const Phase& phase : schedule.phases) {
    if (phase.name != "decode") continue;
    const std::vector<Seconds> ends = PassEnds(schedule, timeline, phase, passes);
    return (ends.back() - ends.front()) / static_cast<double>(passes - 1);
  }
  return std::nullopt;
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
  if (const PhaseTimeline* prefill = FindPhase(out.timeline, "prefill")) out.first_token = prefill->seconds;
  out.per_token = PerToken(sample, schedule, out.timeline);
  out.limit = Limit(out.timeline);
}

Ranked RankOne(const Strategy& strategy, const PlanningTask& sample) {
  Ranked best{.name = strategy.name, .runtime = strategy.runtime};
  std::vector<std::string> candidates = strategy.candidates(sample);
  if (candidates.empty()) candidates.emplace_back();
  for (const std::string& parameters : candidates) {
    Result<Lowered> lowered = strategy.lower(sample, parameters);
    if (!lowered) {
      if (!best.fits) best.why_not = lowered.error().message;
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
    if (better || best.timeline.phases.empty()) best = std::move(candidate);
  }
  if (!best.fits) {
    if (const Result<Bytes> smallest = strategy.smallest_gpu_budget(sample)) best.smallest_gpu_budget = *smallest;
    if (strategy.smallest_host_budget) {
      if (const Result<Bytes> smallest = strategy.smallest_host_budget(sample)) best.smallest_host_budget = *smallest;
    }
  }
  return best;
}

}  // namespace

Seconds Ranked::Total(const Request& request) const {
  return first_token + per_token.value_or(Seconds(0)) * static_cast<double>(request.DecodePasses());
}

std::vector<Ranked> Rank(const std::vector<Strategy>& strategies, const PlanningTask& task) {
  TaskCache cache;
  PlanningTask sample = task;
  sample.last_decode_passes = kSampledPasses;
  sample.cache = &cache;
  std::vector<Ranked> out;
  for (const Strategy& s : strategies) out.push_back(RankOne(s, sample));
  std::stable_sort(out.begin(), out.end(), [&](const Ranked& a, const Ranked& b) {
    if (a.fits != b.fits) return a.fits;
    return a.fits && a.Total(task.request) < b.Total(task.request);
  });
  return out;
}

Result<Lowered> LowerBest(const Strategy& strategy, const PlanningTask& task, std::string_view parameters) {
  if (!parameters.empty()) return strategy.lower(task, parameters);
  TaskCache cache;
  PlanningTask shared = task;
  shared.cache = &cache;
  PlanningTask sample = shared;
  sample.last_decode_passes = kSampledPasses;
  return strategy.lower(shared, RankOne(strategy, sample).parameters);
}

}  // namespace stowage

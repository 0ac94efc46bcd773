#include "sim/engine/engine.h"

#include <algorithm>

#include "sim/engine/run.h"

namespace stowage {
namespace sim {

std::int32_t PoolOf(const Schedule& schedule, StepId id) {
  const Step& step = schedule.steps[static_cast<std::size_t>(id)];
  if (step.kind == StepKind::kEmptyCache) return step.pool;
  return schedule.buffers[static_cast<std::size_t>(step.buffer)].pool;
}

bool QueueOfPool(const Schedule& schedule, std::int32_t queue, std::int32_t pool) {
  if (queue >= static_cast<std::int32_t>(schedule.queues.size())) return false;
  return schedule.queues[static_cast<std::size_t>(queue)].name.starts_with(
      schedule.pools[static_cast<std::size_t>(pool)].name + "/");
}

namespace {

struct Attempt {
  Timeline timeline;
  bool out_of_memory = false;
};

bool AsksWhenWorkWasDone(const Schedule& schedule) {
  return std::any_of(schedule.steps.begin(), schedule.steps.end(),
                     [](const Step& step) { return step.kind == StepKind::kRecordStream; });
}

void NotePeaks(const Timeline& timeline, const Machine& machine, AllocatorActs& acts) {
  for (const PoolTimeline& pool : timeline.pools) {
    acts.peaks.push_back({pool.pool, pool.peak.bytes - machine.Reserved(pool.pool)});
  }
}

Result<Attempt> RunOnce(const Program& program, const Machine& machine, const SimulateOptions& options, bool forward) {
  Attempt attempt;
  Accounts accounts(&program, forward ? Accounts::Keep::kLatest : Accounts::Keep::kAll);
  Progress progress;
  STOWAGE_TRY(const CachingAllocatorSettings torch, CachingAllocatorSettings::Parse(machine.torch_allocator));
  Memory memory(program.schedule, &machine, torch, &progress, options.record_curves);
  Books books{&machine, &accounts, &memory, &progress, options.record_spans ? &attempt.timeline.spans : nullptr};
  if (options.record_acts != nullptr) {
    *options.record_acts = {.repeat = forward && !AsksWhenWorkWasDone(*program.schedule)};
    if (options.record_acts->repeat) books.acts = &options.record_acts->acts;
  }
  if (books.spans != nullptr) books.spans->reserve(static_cast<std::size_t>(program.executions));
  if (memory.Start()) {
    STOWAGE_RETURN_IF_ERROR(forward ? RunForward(program, books) : RunEvents(program, books));
    attempt.out_of_memory = books.out_of_memory;
  }
  accounts.Finish(attempt.timeline);
  memory.Finish(attempt.timeline);
  if (options.record_acts != nullptr) {
    options.record_acts->repeat &= !attempt.timeline.out_of_memory.has_value();
    NotePeaks(attempt.timeline, machine, *options.record_acts);
  }
  return attempt;
}

// What was issued first comes first; the unrolled order decides between equals.
void SortSpans(const Program& program, std::vector<StepSpan>& spans) {
  const auto key = [&program](const StepSpan& span) {
    const Run& run = program.runs[static_cast<std::size_t>(program.run_of[static_cast<std::size_t>(span.step)])];
    return std::pair(span.issued, run.Seq(span.step, span.iteration));
  };
  std::sort(spans.begin(), spans.end(), [&](const StepSpan& a, const StepSpan& b) { return key(a) < key(b); });
}

}  // namespace
}  // namespace sim

Result<Timeline> Simulate(const Schedule& schedule, const Machine& machine, const SimulateOptions& options) {
  STOWAGE_TRY(const sim::Program program, sim::Compile(schedule, machine));
  const bool forward = program.forward && !options.force_event_loop;
  STOWAGE_TRY(sim::Attempt attempt, sim::RunOnce(program, machine, options, forward));
  // Where it ended in time among several issuers, only the event loop knows.
  if (forward && attempt.out_of_memory && schedule.issuers.size() > 1) {
    STOWAGE_TRY(attempt, sim::RunOnce(program, machine, options, false));
  }
  if (schedule.issuers.size() > 1 || !forward) sim::SortSpans(program, attempt.timeline.spans);
  return std::move(attempt.timeline);
}

Result<Timeline> SimulateTimes(const Schedule& schedule, const Machine& machine, const AllocatorActs& acts) {
  if (!acts.repeat) return Simulate(schedule, machine);
  STOWAGE_TRY(const sim::Program program, sim::Compile(schedule, machine));
  if (!program.forward) return Simulate(schedule, machine);
  Timeline timeline;
  sim::Accounts accounts(&program, sim::Accounts::Keep::kPhases);
  sim::Progress progress;
  sim::Books books{.machine = &machine, .accounts = &accounts, .progress = &progress, .replayed = &acts};
  STOWAGE_RETURN_IF_ERROR(sim::RunTimes(program, books));
  accounts.FinishPhases(timeline);
  for (const AllocatorActs::PoolPeak& peak : acts.peaks) {
    timeline.pools.push_back({.pool = peak.pool, .peak = {.bytes = peak.bytes + machine.Reserved(peak.pool)}});
  }
  return timeline;
}

}  // namespace stowage

// Both algorithms against the slow referee, on thousands of random schedules.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "sim/engine/engine.h"
#include "sim/engine/program.h"
#include "sim/engine/random_schedule.h"
#include "sim/engine/referee.h"

namespace stowage {
namespace {

constexpr int kCases = 4000;

std::vector<bool> SharedOf(const Machine& machine) {
  std::vector<bool> shared;
  for (const Resource& r : machine.resources) shared.push_back(r.shared);
  return shared;
}

std::string Text(const std::vector<StepSpan>& spans) {
  std::string out;
  for (const StepSpan& s : spans) {
    out += std::to_string(s.step) + "#" + std::to_string(s.iteration) + " " + std::to_string(s.issued.value()) + " " +
           std::to_string(s.start.value()) + " " + std::to_string(s.end.value()) + "\n";
  }
  return out;
}

bool Near(Seconds a, Seconds b) { return std::abs(a.value() - b.value()) <= 1e-9 * (1 + std::abs(b.value())); }

bool SameSpans(const std::vector<StepSpan>& a, const std::vector<StepSpan>& b, bool exact) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].step != b[i].step || a[i].iteration != b[i].iteration) return false;
    if (exact ? a[i].issued != b[i].issued || a[i].start != b[i].start || a[i].end != b[i].end
              : !Near(a[i].issued, b[i].issued) || !Near(a[i].start, b[i].start) || !Near(a[i].end, b[i].end)) {
      return false;
    }
  }
  return true;
}

// Busy time is the union of the spans on the resource; busy and idle make the length; causes make the idle time.
void CheckResources(const Schedule& schedule, const Timeline& t) {
  double length = 0;
  for (const StepSpan& s : t.spans) length = std::max(length, s.end.value());
  EXPECT_EQ(t.length.value(), length);
  for (std::size_t r = 0; r < schedule.resources.size(); ++r) {
    std::vector<std::pair<double, double>> held;
    for (const StepSpan& s : t.spans) {
      for (const std::int16_t used : schedule.steps[static_cast<std::size_t>(s.step)].resources) {
        if (used == static_cast<std::int16_t>(r)) held.emplace_back(s.start.value(), s.end.value());
      }
    }
    std::sort(held.begin(), held.end());
    double busy = 0, until = 0;
    for (const auto& [start, end] : held) {
      busy += std::max(0.0, end - std::max(start, until));
      until = std::max(until, end);
    }
    const ResourceTimeline& line = t.resources[r];
    double causes = 0;
    for (const auto& [cause, seconds] : line.idle_causes) {
      EXPECT_GT(seconds.value(), 0) << cause;
      causes += seconds.value();
    }
    EXPECT_NEAR(line.busy.value(), busy, 1e-9) << line.resource;
    EXPECT_NEAR(line.busy.value() + line.idle.value(), length, 1e-9) << line.resource;
    EXPECT_NEAR(causes, line.idle.value(), 1e-9) << line.resource;
  }
}

// Live bytes, added up along the spans.
void CheckMemory(const Schedule& schedule, const Timeline& t) {
  if (schedule.pools.empty()) return;
  std::int64_t live = 0, peak = 0;
  Seconds at;
  for (const StepSpan& span : t.spans) {
    const Step& step = schedule.steps[static_cast<std::size_t>(span.step)];
    if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) continue;
    const std::int64_t bytes = schedule.buffers[static_cast<std::size_t>(step.buffer)].bytes.at(span.iteration).value();
    live += step.kind == StepKind::kAllocate ? bytes : -bytes;
    if (live <= peak) continue;
    peak = live;
    at = span.start;
  }
  EXPECT_EQ(live, 0);
  const Peak& said = t.pools[0].peak;
  EXPECT_EQ(said.bytes.value(), peak);
  EXPECT_EQ(said.at, at);
  Bytes sum;
  for (const PeakBuffer& buffer : said.buffers) sum += buffer.bytes;
  EXPECT_EQ(sum, said.bytes);
}

// A run that repeats what the allocators did in a run at other rates ends its phases when a whole run does.
void CheckTimes(const ToySchedule& b) {
  Machine machine = b.machine();
  AllocatorActs acts;
  ASSERT_TRUE(Simulate(b.schedule, machine, {.record_acts = &acts}));
  EXPECT_TRUE(acts.repeat);
  machine.dispatch.native_launch = machine.dispatch.native_launch * 3.0 + Seconds(0.5);
  machine.dispatch.device_malloc = Seconds(0.25);
  const auto whole = Simulate(b.schedule, machine);
  const auto times = SimulateTimes(b.schedule, machine, acts);
  ASSERT_TRUE(whole && times);
  EXPECT_EQ(times->length, whole->length);
  ASSERT_EQ(times->phases.size(), whole->phases.size());
  for (std::size_t p = 0; p < whole->phases.size(); ++p) {
    EXPECT_EQ(times->phases[p].start, whole->phases[p].start);
    EXPECT_EQ(times->phases[p].seconds, whole->phases[p].seconds);
    EXPECT_EQ(times->phases[p].iterations, whole->phases[p].iterations);
  }
  ASSERT_EQ(times->pools.size(), whole->pools.size());
  for (std::size_t p = 0; p < whole->pools.size(); ++p) {
    EXPECT_EQ(times->pools[p].peak.bytes, whole->pools[p].peak.bytes);
  }
}

struct Seen {
  int forward = 0;
  int stuck = 0;
};

void CheckCase(std::uint64_t seed, const RandomOptions& options, Seen& seen) {
  SCOPED_TRACE(seed);
  const ToySchedule b = RandomSchedule(seed, options);
  const Machine machine = b.machine();
  const RefereeResult truth = Referee(b.schedule, machine.dispatch.native_launch.value(), SharedOf(machine));
  const auto general = Simulate(b.schedule, machine, {.record_spans = true, .force_event_loop = true});
  if (truth.stuck) {
    ++seen.stuck;
    EXPECT_FALSE(general);
    return;
  }
  ASSERT_TRUE(general) << general.error().message;
  ASSERT_TRUE(SameSpans(general->spans, truth.spans, !options.share)) << "event loop:\n"
                                                                      << Text(general->spans) << "referee:\n"
                                                                      << Text(truth.spans);
  CheckResources(b.schedule, *general);
  CheckMemory(b.schedule, *general);
  const auto program = sim::Compile(b.schedule, machine);
  ASSERT_TRUE(program);
  if (!program->forward) return;
  ++seen.forward;
  const auto forward = Simulate(b.schedule, machine, {.record_spans = true});
  ASSERT_TRUE(forward) << forward.error().message;
  ASSERT_TRUE(SameSpans(forward->spans, truth.spans, true)) << "one pass:\n"
                                                            << Text(forward->spans) << "referee:\n"
                                                            << Text(truth.spans);
  CheckResources(b.schedule, *forward);
  CheckMemory(b.schedule, *forward);
  for (std::size_t r = 0; r < b.schedule.resources.size(); ++r) {
    EXPECT_EQ(forward->resources[r].idle_causes, general->resources[r].idle_causes) << b.schedule.resources[r];
  }
  for (std::size_t p = 0; p < b.schedule.phases.size(); ++p) {
    EXPECT_EQ(forward->phases[p].seconds, general->phases[p].seconds);
    EXPECT_EQ(forward->phases[p].iterations, general->phases[p].iterations);
  }
  CheckTimes(b);
}

TEST(SimulateProperty, TheEventLoopAgreesWithTheRefereeWhereQueuesCompete) {
  Seen seen;
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFailure(); ++seed) CheckCase(seed, {}, seen);
  EXPECT_GT(seen.stuck, 0);
  EXPECT_LT(seen.stuck, kCases / 2);
}

TEST(SimulateProperty, OnePassAgreesWithTheRefereeWhereNothingCompetes) {
  Seen seen;
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFailure(); ++seed) {
    CheckCase(seed, {.compete = false}, seen);
  }
  EXPECT_GT(seen.forward, kCases / 2);
}

TEST(SimulateProperty, SharedBandwidthAgreesWithTheReferee) {
  Seen seen;
  for (std::uint64_t seed = 0; seed < kCases && !testing::Test::HasFailure(); ++seed) {
    CheckCase(seed, {.share = true}, seen);
  }
}

}  // namespace
}  // namespace stowage

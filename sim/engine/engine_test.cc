#include "sim/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "planner/base/text.h"
#include "sim/engine/toy_schedule.h"

namespace stowage {
namespace {

Timeline Simulated(const ToySchedule& b, SimulateOptions options = {}) {
  auto timeline = Simulate(b.schedule, b.machine(), options);
  EXPECT_TRUE(timeline) << timeline.error().message;
  return timeline ? *std::move(timeline) : Timeline{};
}

// "gpu0.sm: busy 3, idle 1 (waiting for a copy 1)", a line per resource.
std::string Resources(const Timeline& timeline) {
  std::string out;
  const auto number = [](Seconds s) {
    std::string text = std::to_string(s.value());
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
  };
  for (const ResourceTimeline& r : timeline.resources) {
    out += r.resource + ": busy " + number(r.busy) + ", idle " + number(r.idle);
    std::vector<std::string> causes;
    for (const auto& [cause, seconds] : r.idle_causes) causes.push_back(cause + " " + number(seconds));
    if (!causes.empty()) out += " (" + Join(causes, ", ") + ")";
    out += "\n";
  }
  return out;
}

TEST(Simulate, AThirdOfTheTimeEachDeviceOfADeviceMapIsBusy) {
  ToySchedule b;
  for (int layer = 0; layer < 24; ++layer) {
    std::vector<StepRef> after;
    if (layer > 0) after.push_back({layer - 1});
    b.Compute("gpu" + std::to_string(layer / 8) + "/compute", 1, after);
  }
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 24);
  EXPECT_EQ(Resources(t),
            "gpu0.sm: busy 8, idle 16 (nothing left to do 16)\n"
            "gpu1.sm: busy 8, idle 16 (nothing left to do 8, waiting for compute 8)\n"
            "gpu2.sm: busy 8, idle 16 (waiting for compute 16)\n");
}

TEST(Simulate, ADoubleBufferHidesTheShorterOfCopyAndCompute) {
  // T = copy(1) + sum max(compute(i), copy(i + 1)) + compute(L): 2 + max(3, 4) + max(1, 2) + max(5, 1) + 3 = 16.
  const std::vector<double> copy = {2, 4, 2, 1};
  const std::vector<double> compute = {3, 1, 5, 3};
  ToySchedule b;
  std::vector<StepId> computes;
  for (std::size_t i = 0; i < copy.size(); ++i) {
    std::vector<StepRef> slot_free;
    if (i >= 2) slot_free.push_back({computes[i - 2]});
    const StepId copied = b.Copy("gpu0/in", copy[i], slot_free);
    computes.push_back(b.Compute("gpu0/compute", compute[i], {{copied}}));
  }
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 16);
  // The sm waits for copies 1, the rest of 2, and the rest of 3; copy 4 waits for compute 2 to leave its slot.
  EXPECT_EQ(Resources(t),
            "gpu0.h2d: busy 9, idle 7 (nothing left to do 7)\n"
            "gpu0.sm: busy 12, idle 4 (waiting for a copy 4)\n");
}

TEST(Simulate, SynchronousCopiesAddToTheComputing) {
  ToySchedule b;
  for (int i = 0; i < 3; ++i) {
    const StepId copied = b.Copy("gpu0/compute", 2);
    b.At(copied).blocking = true;
    b.Compute("gpu0/compute", 1);
  }
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 9);  // 3 * (2 + 1): the stream is in order
  EXPECT_EQ(Resources(t),
            "gpu0.h2d: busy 6, idle 3 (nothing left to do 1, waiting for compute 2)\n"
            "gpu0.sm: busy 3, idle 6 (waiting for a copy 6)\n");
}

TEST(Simulate, ARingRunsAheadAcrossIterations) {
  // Two slots, one block per token: the copy of token i + 2 waits for the compute of token i.
  ToySchedule b;
  b.Phase("decode", 5);
  const StepId copy_a = b.Copy("gpu0/in", 2);
  const StepId compute_a = b.Compute("gpu0/compute", 1, {{copy_a}});
  const StepId copy_b = b.Copy("gpu0/in", 2);
  const StepId compute_b = b.Compute("gpu0/compute", 1, {{copy_b}});
  b.At(copy_a).after = {{compute_a, 1}};
  b.At(copy_b).after = {{compute_b, 1}};
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 21);  // 10 copies back to back, then the last compute
  EXPECT_EQ(Resources(t),
            "gpu0.h2d: busy 20, idle 1 (nothing left to do 1)\n"
            "gpu0.sm: busy 10, idle 11 (waiting for a copy 11)\n");
}

TEST(Simulate, TheIssuerIsTheBottleneckOfSmallKernels) {
  ToySchedule b;
  b.dispatch.native_launch = Seconds(3);
  b.Phase("decode", 4);
  b.Compute("gpu0/compute", 1);
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 13);
  EXPECT_EQ(Resources(t), "gpu0.sm: busy 4, idle 9 (waiting for the issuer 9)\n");
}

TEST(Simulate, ACapturedBodyPaysOneLaunchPerIteration) {
  ToySchedule b;
  b.dispatch.native_launch = Seconds(3);
  b.Phase("decode", 4, true);
  for (int i = 0; i < 5; ++i) b.Compute("gpu0/compute", 0.25);
  EXPECT_EQ(Simulated(b).length.value(), 4 * 3 + 1.25);
  b.schedule.phases[0].captured = false;
  EXPECT_EQ(Simulated(b).length.value(), 4 * 5 * 3 + 0.25);
}

TEST(Simulate, AWaitingHostDelaysWhatItIssuesNext) {
  ToySchedule b;
  b.dispatch.native_launch = Seconds(1);
  const StepId copied = b.Copy("gpu0/in", 5);  // issued 1, ends 6
  b.Wait(copied);
  b.Compute("gpu0/compute", 2);  // issued 7, ends 9
  const Timeline t = Simulated(b, {.record_spans = true});
  ASSERT_EQ(t.spans.size(), 3u);
  EXPECT_EQ(t.spans[1].issued.value(), 1);
  EXPECT_EQ(t.spans[1].end.value(), 6);
  EXPECT_EQ(t.spans[2].issued.value(), 7);
  EXPECT_EQ(t.length.value(), 9);
  EXPECT_EQ(Resources(t),
            "gpu0.h2d: busy 5, idle 4 (nothing left to do 3, waiting for the issuer 1)\n"
            "gpu0.sm: busy 2, idle 7 (waiting for a copy 5, waiting for the issuer 2)\n");
}

TEST(Simulate, HostWorkWithoutAQueueHoldsItsIssuer) {
  ToySchedule b;
  b.schedule.issuers.push_back({"python", IssuerKind::kTorch});
  b.dispatch.torch_hook = Seconds(2);
  b.dispatch.torch_operator = Seconds(1);
  b.Job(StepKind::kCompute, "", {}, 0);
  b.Compute("gpu0/compute", 4);
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 7);
}

TEST(Simulate, AReduceStartsWhenTheLastRankIsReadyAndEndsForAllAtOnce) {
  ToySchedule b;
  for (int rank = 0; rank < 4; ++rank) b.Compute("gpu" + std::to_string(rank) + "/compute", 1 + rank);
  for (int rank = 0; rank < 4; ++rank) {
    const std::string gpu = "gpu" + std::to_string(rank);
    b.At(b.Job(StepKind::kReduce, gpu + "/compute", {gpu + ".sm"}, rank == 2 ? 3 : 2)).group = 7;
  }
  const Timeline t = Simulated(b);
  EXPECT_EQ(t.length.value(), 7);
  EXPECT_EQ(Resources(t),
            "gpu0.sm: busy 4, idle 3 (waiting for compute 3)\n"
            "gpu1.sm: busy 5, idle 2 (waiting for compute 2)\n"
            "gpu2.sm: busy 6, idle 1 (waiting for compute 1)\n"
            "gpu3.sm: busy 7, idle 0\n");
}

TEST(Simulate, PhasesAddUpToTheLengthAndCountTheirPasses) {
  ToySchedule b;
  b.Phase("prefill");
  b.Compute("gpu0/compute", 4);
  b.Phase("decode", 3);
  b.Compute("gpu0/compute", 1);
  b.Epilogue();
  b.Compute("gpu0/compute", 2);
  const Timeline t = Simulated(b);
  ASSERT_EQ(t.phases.size(), 2u);
  EXPECT_EQ(t.phases[0].seconds.value(), 4);
  EXPECT_EQ(t.phases[0].iterations, 1);
  EXPECT_EQ(t.phases[1].start.value(), 4);
  EXPECT_EQ(t.phases[1].seconds.value(), 5);
  EXPECT_EQ(t.phases[1].iterations, 4);
}

TEST(Simulate, NeighbouringPhasesOfOneNameAreOneOfTheTimeline) {
  ToySchedule b;
  b.Phase("decode", 3);
  b.Compute("gpu0/compute", 1);
  b.Phase("decode", 2);
  b.Compute("gpu0/compute", 4);
  b.Phase("unload");
  b.Compute("gpu0/compute", 1);
  const Timeline t = Simulated(b);
  ASSERT_EQ(t.phases.size(), 2u);
  EXPECT_EQ(t.phases[0].seconds.value(), 11);
  EXPECT_EQ(t.phases[0].iterations, 5);
  EXPECT_EQ(t.phases[1].start.value(), 11);
}

TEST(Simulate, ReferencesToABodyFromOutsideMeanItsLastIteration) {
  ToySchedule b;
  b.Phase("load", 3);
  const StepId read = b.Job(StepKind::kRead, "disk0/0", {"disk0"}, 2);
  b.Phase("decode");
  b.Compute("gpu0/compute", 1, {{read}});
  const Timeline t = Simulated(b);
  EXPECT_EQ(Resources(t),
            "disk0: busy 6, idle 1 (nothing left to do 1)\n"
            "gpu0.sm: busy 1, idle 6 (waiting for a read 6)\n");
}

TEST(Simulate, WorkThatGrowsIsPricedInEachIteration) {
  ToySchedule b;
  b.Phase("decode", 3);
  const StepId s = b.Copy("gpu0/in", 0);
  b.At(s).fixed.reset();
  b.At(s).writes = {{0, 0, AffineBytes(10, 5)}};
  Machine machine = b.machine();
  machine.resources[0].transfer = TransferRate{.pinned = BytesPerSecond(10)};
  const auto t = Simulate(b.schedule, machine);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->length.value(), 1 + 1.5 + 2);
}

TEST(Simulate, ADurationThatIsNotFiniteIsRefused) {
  ToySchedule b;
  const StepId s = b.Copy("gpu0/in", 0);
  b.At(s).fixed.reset();
  b.At(s).pageable = true;
  b.At(s).name = "copy w";
  b.At(s).writes = {{0, 0, 8}};
  Machine machine = b.machine();
  machine.resources[0].transfer = TransferRate{.pinned = BytesPerSecond(10)};
  const auto t = Simulate(b.schedule, machine);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().message, "step 0 'copy w': takes inf s in iteration 0 on machine 'test machine'");
}

}  // namespace
}  // namespace stowage

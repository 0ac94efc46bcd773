// What several GPUs do at the same time, and what they do not.
#include <gtest/gtest.h>

#include <string>

#include "planner/machine/build_machine.h"
#include "planner/strategy/native/device_map_ring.h"
#include "planner/strategy/native/pipeline.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/native/rings.h"
#include "planner/strategy/torch/device_map_strategy.h"
#include "planner/zoo/zoo.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

struct Case {
  Model model = *ZooModel("llama-3.2-1b");
  Machine machine = *BuildMachine({.gpus = {"3xt4"}, .cpu = "30GB", .disk = "100GB"}, {});
  Request request{.batch = 4, .prompt_tokens = 64, .new_tokens = 6};

  Timeline Run(const Strategy& strategy, const std::string& parameters) const {
    const Result<Lowered> lowered =
        strategy.lower({.model = &model, .machine = &machine, .request = request}, parameters);
    EXPECT_TRUE(lowered.ok()) << lowered.error().message;
    const Result<Timeline> timeline = Simulate(lowered->schedule, machine);
    EXPECT_TRUE(timeline.ok()) << timeline.error().message;
    return *timeline;
  }
};

Seconds BusyOfAllGpus(const Timeline& timeline) {
  Seconds busy;
  for (const ResourceTimeline& r : timeline.resources) {
    if (r.resource.ends_with(".sm")) busy += r.busy;
  }
  return busy;
}

Seconds After(const Timeline& timeline) {
  Seconds load;
  for (const PhaseTimeline& phase : timeline.phases) {
    if (phase.phase == "load") load = phase.seconds;
  }
  return timeline.length - load;
}

TEST(SeveralGpus, WorkOneAtATimeUnderADeviceMap) {
  const Case c;
  for (const Strategy& strategy : {DeviceMapStrategy(), DeviceMapRingStrategy()}) {
    const Timeline timeline = c.Run(strategy, "balanced");
    EXPECT_GT(BusyOfAllGpus(timeline), Seconds(0));
    EXPECT_LE(BusyOfAllGpus(timeline), After(timeline)) << strategy.name;
  }
}

// Only multiplications take time: each micro-batch more shortens the time in which stages wait for the first or last one.
TEST(SeveralGpus, AreNeverSlowerWithMoreMicroBatchesWhenOnlyArithmeticTakesTime) {
  Case c;
  c.machine.dispatch = {};
  for (Resource& r : c.machine.resources) {
    if (r.compute) {
      r.compute->launch = Seconds(0);
      r.compute->memory = BytesPerSecond(1e24);
    }
    if (r.transfer) r.transfer = TransferRate{Seconds(0), BytesPerSecond(1e24), BytesPerSecond(1e24)};
  }
  const Timeline one = c.Run(PipelineStrategy(), "1"), two = c.Run(PipelineStrategy(), "2"),
                 four = c.Run(PipelineStrategy(), "4");
  EXPECT_LT(After(two), After(one));
  EXPECT_LT(After(four), After(two));
  EXPECT_LE(BusyOfAllGpus(one).value(), After(one).value() * (1 + 1e-9));  // one at a time
  EXPECT_GT(BusyOfAllGpus(four), After(four));                             // several
  EXPECT_NEAR(BusyOfAllGpus(one).value(), BusyOfAllGpus(four).value(), BusyOfAllGpus(one).value() * 1e-6);
}

// Twice the links, and less to bring. Each link is busy most of the time, so they are at the same time.
TEST(SeveralGpus, StreamMoreThanTwiceAsFastAsOneWithARingOnEach) {
  Case c;
  c.machine = *BuildMachine({.gpus = {"t4:1600MB"}, .cpu = "30GB", .disk = "100GB"}, {});
  const Timeline one = c.Run(RingStrategy(), "");
  c.machine = *BuildMachine({.gpus = {"2xt4:1600MB"}, .cpu = "30GB", .disk = "100GB"}, {});
  const Timeline two = c.Run(RingsStrategy(), "");
  EXPECT_LT(After(two) * 2, After(one));
  for (const ResourceTimeline& r : two.resources) {
    if (r.resource.ends_with(".h2d")) {
      EXPECT_GT(r.busy, After(two) * 0.5) << r.resource;
    }
  }
}

}  // namespace
}  // namespace stowage

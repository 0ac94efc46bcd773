#include "exec/measure/measure.h"

#include <gtest/gtest.h>

#include "exec/measure/calibrate.h"
#include "planner/schedule/builder.h"

namespace stowage {
namespace {

// copy [1, 3) -> compute [3, 4); copy [3, 6), issued at 2 -> compute issued late, at 7: [7, 8).
TEST(MeasuredTimeline, FilesAGapUnderWhatTheNextStepWaitedForLast) {
  ScheduleBuilder b("gaps");
  const auto gpu = b.AddPool("gpu0", Allocator::kArena, Bytes(1000));
  const Lane in{b.AddQueue("gpu0/in"), {b.AddResource("h2d")}},
      compute{b.AddQueue("gpu0/compute"), {b.AddResource("sm")}};
  b.AddIssuer("main", IssuerKind::kNative);
  const BufferId w = b.AddBuffer(gpu, "w", BufferKind::kWeights, Bytes(100));
  const BufferId h = b.AddBuffer(gpu, "h", BufferKind::kActivations, Bytes(40));
  b.BeginPhase("load", {});
  b.BeginPrologue(0);
  const StepId allocate = b.Allocate(w);
  const StepId allocate_h = b.Allocate(h);
  b.BeginPhase("decode", {{.name = "use"}});
  b.BeginBody(2, 1);
  const StepId copy = b.Copy(in, b.Whole(w), b.Whole(w));
  const StepId use = b.Compute(compute, b.AddKernel({.name = "use"}), {b.Whole(w)}, {}, {}, {{copy}});
  const Schedule schedule = std::move(b).Take();
  const auto span = [](StepId step, std::int64_t i, double issued, double start, double end) {
    return StepSpan{step, i, Seconds(issued), Seconds(start), Seconds(end)};
  };
  const Timeline t =
      MeasuredTimeline(schedule,
                       {span(allocate, 0, 0, 0, 0.5), span(allocate_h, 0, 0.5, 0.5, 0.5), span(use, 0, 1.5, 3, 4),
                        span(copy, 0, 1, 1, 3), span(copy, 1, 2, 3, 6), span(use, 1, 7, 7, 8)},
                       {{Seconds(0), w, Bytes(100), allocate}, {Seconds(0.5), h, Bytes(40), allocate_h}}, true);
  EXPECT_EQ(t.length, Seconds(8));
  ASSERT_EQ(t.resources.size(), 2u);
  EXPECT_EQ(t.resources[0].busy, Seconds(5));
  EXPECT_EQ(t.resources[0].idle_causes, (std::map<std::string, Seconds>{{"nothing left to do", Seconds(2)},
                                                                        {"waiting for the issuer", Seconds(1)}}));
  EXPECT_EQ(t.resources[1].idle_causes, (std::map<std::string, Seconds>{{"waiting for a copy", Seconds(2)},
                                                                        {"waiting for the issuer", Seconds(4)}}));
  ASSERT_EQ(t.phases.size(), 2u);
  EXPECT_EQ(t.phases[0].seconds, Seconds(0.5));
  EXPECT_EQ(t.phases[1].seconds, Seconds(7.5));
  EXPECT_EQ(t.phases[1].iterations, 2);
  EXPECT_EQ(t.pools[0].peak.bytes, Bytes(140));
  EXPECT_EQ(t.pools[0].peak.step, "allocate h");
  EXPECT_EQ(t.pools[0].peak.buffers[0].name, "w");
  EXPECT_EQ(t.spans.size(), 6u);
  EXPECT_EQ(t.spans[2].step, copy);
}

TEST(CalibrateHost, GivesEveryResourceOfAHostDeviceAMeasuredRate) {
  const auto rates = CalibrateHost("");
  ASSERT_TRUE(rates) << rates.error().message;
  EXPECT_GT(rates->compute.fp32.value(), 1e7);
  EXPECT_GT(rates->compute.memory.value(), 1e7);
  EXPECT_GT(rates->copy.pinned.value(), 1e7);
  EXPECT_GT(rates->step, Seconds(0));
  EXPECT_GT(rates->populate, 0);
  Machine machine{.name = "m", .gpus = {}, .pools = {}};
  machine.resources = {{.name = "gpu0.sm", .compute = ComputeRate{}}, {.name = "disk0", .transfer = TransferRate{}}};
  machine = WithHostRates(std::move(machine), *rates);
  EXPECT_EQ(machine.resources[0].origin, Origin::kMeasured);
  EXPECT_EQ(machine.resources[0].compute->fp32, rates->compute.fp32);
  EXPECT_EQ(machine.resources[1].origin, Origin::kAssumed);  // no file to read from
  EXPECT_EQ(machine.dispatch.populate_host, rates->populate);
}

}  // namespace
}  // namespace stowage

#include "planner/schedule/builder.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

TEST(ScheduleBuilder, KeepsSectionsConsecutiveAndCovering) {
  ScheduleBuilder b("toy");
  const auto gpu = b.AddPool("gpu0", Allocator::kArena, Bytes(100));
  b.AddIssuer("main", IssuerKind::kNative);
  const BufferId x = b.AddBuffer(gpu, "x", BufferKind::kActivations, 8);
  const Lane lane = {b.AddQueue("gpu0/compute"), {b.AddResource("gpu0.sm")}};
  const auto kernel = b.AddKernel({});
  b.BeginPhase("load", {});
  b.BeginPrologue(0);
  b.Allocate(x);
  b.BeginPhase("decode", {{"a"}, {"b"}});
  b.BeginBody(4, 1);
  b.Compute(lane, kernel, {}, {b.Whole(x)}, {b.FindRequired("b")});
  b.Compute(lane, kernel, {b.Whole(x)}, {}, {b.FindRequired("a")});
  b.BeginEpilogue(0);
  b.Free(x);
  const Schedule s = std::move(b).Take();

  ASSERT_EQ(s.phases.size(), 2u);
  EXPECT_EQ(s.phases[0].prologue, (Section{0, 1, 0}));
  EXPECT_EQ(s.phases[0].body, (Section{1, 1, 0}));
  EXPECT_EQ(s.phases[0].epilogue, (Section{1, 1, 0}));
  EXPECT_EQ(s.phases[1].prologue, (Section{1, 1, 0}));
  EXPECT_EQ(s.phases[1].body, (Section{1, 3, 1}));
  EXPECT_EQ(s.phases[1].epilogue, (Section{3, 4, 0}));
  EXPECT_EQ(s.phases[1].iterations, 4);
  EXPECT_EQ(s.steps[1].instance.op, 1);
}

TEST(ScheduleBuilder, GivesTheSameIndexForTheSameQueueAndResource) {
  ScheduleBuilder b("toy");
  EXPECT_EQ(b.AddQueue("q"), b.AddQueue("q"));
  EXPECT_NE(b.AddQueue("q"), b.AddQueue("r"));
  EXPECT_EQ(b.AddResource("gpu0.sm"), b.AddResource("gpu0.sm"));
}

TEST(ScheduleBuilderDeathTest, AbortsWhenASectionComesTooLate) {
  ScheduleBuilder b("toy");
  b.BeginPhase("p", {});
  b.BeginBody(1, 0);
  EXPECT_DEATH(b.BeginPrologue(0), "section_ < which");
}

}  // namespace
}  // namespace stowage

#include "planner/strategy/native/disk_feed.h"

#include <gtest/gtest.h>

#include <memory>

#include "planner/families/testing/tiny_models.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/strategy/native/ring_proposal.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

// Bytes that each phase reads from the disk.
Bytes ReadIn(const Schedule& s, std::string_view name) {
  std::int64_t bytes = 0;
  for (const Phase& phase : s.phases) {
    if (phase.name != name) continue;
    const auto add = [&](const Section& section, std::int64_t times) {
      for (StepId id = section.begin; id < section.end; ++id) {
        if (s.steps[id].kind == StepKind::kRead) bytes += times * s.steps[id].reads[0].bytes.base;
      }
    };
    add(phase.prologue, 1);
    add(phase.body, phase.iterations);
    add(phase.epilogue, 1);
  }
  return Bytes(bytes);
}

Bytes OnDisk(const Plan& plan) {
  Bytes bytes;
  for (const TensorPlan& t : plan.tensors) {
    for (const Residency& r : t.parts) {
      if (r.pool == "disk") bytes += Bytes(t.bytes().value() / t.Rows() * (r.row_end - r.row_begin));
    }
  }
  return bytes;
}

// With little memory on the device, so that most matrices stream.
TestTask Streaming(std::uint64_t seed) {
  TestTask test = RandomTask(seed);
  const PlanningTask task = test.task();
  const Bytes least = Ring::Of(task)->SmallestBudget();
  test.Budget("gpu0") = least + (test.Budget("gpu0") - least) / 64 * static_cast<std::int64_t>(seed % 4);
  return test;
}

// The smallest ring, with so much host memory.
NativeProposal Propose(TestTask& test, Bytes host) {
  test.Budget("host") = host;
  const PlanningTask task = test.task();
  const Ring ring = *Ring::Of(task);
  return *ring.Propose({ring.least()});
}

Bytes HostBudget(TestTask& test, const NativeModel& native, Bytes host) {
  const NativeProposal proposal = Propose(test, host);
  return HostBudgetFor(native, test.task(), proposal);
}

TEST(DiskFeed, ReadsInEachPassWhatThePlanLeavesOnTheDisk) {
  int from_disk = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    TestTask test = Streaming(seed);
    const std::shared_ptr<const NativeModel> native = *RealizeModel(test.task());
    const Bytes most = HostBudget(test, *native, test.Budget("host")), least = HostBudget(test, *native, Bytes(0));
    Bytes before;
    for (const Bytes host : {most, (most + least) / 2, least}) {
      const NativeProposal proposal = Propose(test, host);
      const Result<Lowered> lowered = LowerNative(*native, test.task(), proposal);
      ASSERT_TRUE(lowered) << seed << ": " << lowered.error().message;
      const Status plan = CheckPlan(lowered->plan);
      EXPECT_TRUE(plan) << seed << ": " << plan.error().message;
      const Status schedule = CheckSchedule(lowered->schedule);
      EXPECT_TRUE(schedule) << seed << ": " << schedule.error().message;
      const Bytes on_disk = OnDisk(lowered->plan);
      EXPECT_TRUE(host < most || on_disk == Bytes(0)) << seed;
      EXPECT_GE(on_disk, before) << seed;  // less memory, more on the disk
      before = on_disk;
      // Copies run ahead of the pass that needs them, so only the sum is known.
      EXPECT_EQ(ReadIn(lowered->schedule, "prefill") + ReadIn(lowered->schedule, "decode"),
                on_disk * (1 + test.request.DecodePasses()))
          << seed;
      from_disk += on_disk > Bytes(0);
    }
  }
  EXPECT_GE(from_disk, 50);
}

// Few rows touch few experts, which are then gathered; from the disk all of them come in each pass.
TEST(DiskFeed, BringsExpertsThatAreGatheredWhereTheHostHasThem) {
  int from_disk = 0;
  for (const TinyConfig& config : TinyConfigs()) {
    TestTask test{
        .model = WiderModel(config), .machine = TinyMachine(), .request = {.prompt_tokens = 1, .new_tokens = 5}};
    const auto realized = RealizeModel(test.task());
    if (!realized || !(*realized)->decode_gathers) continue;
    const std::shared_ptr<const NativeModel> native = *realized;
    test.Budget("gpu0") = Ring::Of(test.task())->SmallestBudget();
    const Bytes most = HostBudget(test, *native, test.Budget("host")), least = HostBudget(test, *native, Bytes(0));
    Bytes before;
    for (int eighths = 8; eighths >= 0; --eighths) {
      const NativeProposal proposal = Propose(test, least + (most - least) / 8 * eighths);
      const Result<Lowered> lowered = LowerNative(*native, test.task(), proposal);
      ASSERT_TRUE(lowered) << config.name << ": " << lowered.error().message;
      const Status plan = CheckPlan(lowered->plan), schedule = CheckSchedule(lowered->schedule);
      EXPECT_TRUE(plan) << config.name << ": " << plan.error().message;
      EXPECT_TRUE(schedule) << config.name << ": " << schedule.error().message;
      const Bytes on_disk = OnDisk(lowered->plan);
      EXPECT_GE(on_disk, before) << config.name;
      before = on_disk;
      EXPECT_EQ(ReadIn(lowered->schedule, "prefill") + ReadIn(lowered->schedule, "decode"),
                on_disk * (1 + test.request.DecodePasses()));
      for (const TensorId t : native->used) from_disk += native->expert[t] && proposal.OnDisk(t);
    }
  }
  EXPECT_GT(from_disk, 100);
}

TEST(DiskFeed, LeavesToTheHostWhatNoDiskCanRelieveItOf) {
  TestTask test = Streaming(3);
  const std::shared_ptr<const NativeModel> native = *RealizeModel(test.task());
  const Bytes least = HostBudget(test, *native, Bytes(0));
  const NativeProposal proposal = Propose(test, least - Bytes(1));
  const Result<Lowered> lowered = LowerNative(*native, test.task(), proposal);
  ASSERT_FALSE(lowered);
  EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible);
}

}  // namespace
}  // namespace stowage

// model-offload and group-offload lowered to schedules. The events inside a pass: torch_offload_traces_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/strategy/torch/group_offload.h"
#include "planner/strategy/torch/model_offload.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

using testing::HasSubstr;

class OffloadStrategies : public testing::Test {
 protected:
  PlanningTask Task(std::int64_t new_tokens = 8) {
    request_.prompt_tokens = 12;
    request_.new_tokens = new_tokens;
    return {.model = &model_, .machine = &machine_, .request = request_};
  }

  Lowered Lower(const Strategy& strategy, const std::string& parameters, std::int64_t new_tokens = 8) {
    Result<Lowered> lowered = strategy.lower(Task(new_tokens), parameters);
    EXPECT_TRUE(lowered.ok()) << lowered.error().message;
    return lowered.ok() ? *std::move(lowered) : Lowered{};
  }

  Model model_ = *ZooModel("llama-3.2-1b");
  Machine machine_ = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  Request request_;
};

void ExpectSound(const Lowered& lowered, const std::string& what) {
  const Status plan = CheckPlan(lowered.plan);
  EXPECT_TRUE(plan.ok()) << what << ": " << plan.error().message;
  const Status schedule = CheckSchedule(lowered.schedule);
  EXPECT_TRUE(schedule.ok()) << what << ": " << schedule.error().message;
}

TEST_F(OffloadStrategies, AllModesMakeSoundSchedulesWhateverTheNumberOfPasses) {
  for (const char* mode :
       {"block:1", "block:1:stream", "block:2:disk", "leaf", "leaf:disk", "leaf:stream", "leaf:stream:record_stream",
        "leaf:stream:low_cpu_mem", "leaf:stream:disk", "leaf:stream:low_cpu_mem:record_stream"}) {
    for (const std::int64_t new_tokens : {1, 2, 6, 7, 8}) {
      ExpectSound(Lower(GroupOffloadStrategy(), mode, new_tokens), mode);
    }
  }
  ExpectSound(Lower(ModelOffloadStrategy(), ""), "model-offload");
}

TEST_F(OffloadStrategies, BuffersThatStayOnTheDeviceTakeTurnsFromPassToPass) {
  model_ = *ZooModel("gemma-2b");  // its embedding has a scale, a buffer of the streamed leaf
  for (const std::int64_t new_tokens : {2, 6, 7}) {
    ExpectSound(Lower(GroupOffloadStrategy(), "leaf:stream", new_tokens), "leaf:stream");
    ExpectSound(Lower(GroupOffloadStrategy(), "leaf:stream:low_cpu_mem", new_tokens), "leaf:stream:low_cpu_mem");
  }
}

// Bytes that a phase's steps move over the links, by direction.
std::pair<Bytes, Bytes> MovedIn(const Schedule& schedule, const std::string& name) {
  std::pair<Bytes, Bytes> moved;
  for (const Phase& phase : schedule.phases) {
    if (phase.name != name) continue;
    for (StepId id = phase.prologue.begin; id < phase.epilogue.end; ++id) {
      const Step& step = schedule.steps[id];
      if (step.kind != StepKind::kCopy || schedule.buffers[step.reads[0].buffer].kind != BufferKind::kWeights) continue;
      const bool up = schedule.pools[schedule.buffers[step.writes[0].buffer].pool].name == "gpu0";
      (up ? moved.first : moved.second) += step.writes[0].bytes.at(0);
    }
  }
  return moved;
}

TEST_F(OffloadStrategies, ModelOffloadMovesEverythingOnceEachWay) {
  const Schedule schedule = Lower(ModelOffloadStrategy(), "").schedule;
  Bytes all = model_.WeightBytes();
  for (const Tensor& t : model_.tensors) all += t.buffer ? t.bytes() : Bytes(0);
  EXPECT_EQ(MovedIn(schedule, "prefill"), std::pair(all, Bytes(0)));
  EXPECT_EQ(MovedIn(schedule, "decode"), std::pair(Bytes(0), Bytes(0)));
  EXPECT_EQ(MovedIn(schedule, "offload"), std::pair(Bytes(0), all));
}

TEST_F(OffloadStrategies, WithoutAStreamWeightsTravelBothWaysInEachPass) {
  const Schedule blocks = Lower(GroupOffloadStrategy(), "block:1", 2).schedule;
  const auto [up, down] = MovedIn(blocks, "decode");
  EXPECT_EQ(up, down);
  EXPECT_GT(up, model_.WeightBytes());  // the tied head once, the leftovers' buffers twice
  const auto [tied_up, tied_down] = MovedIn(Lower(GroupOffloadStrategy(), "leaf", 2).schedule, "decode");
  EXPECT_EQ(tied_up, tied_down);
  EXPECT_GT(tied_up, up);  // leaf by leaf the tied head travels twice
  EXPECT_EQ(MovedIn(Lower(GroupOffloadStrategy(), "leaf:stream", 2).schedule, "decode").second, Bytes(0));
}

TEST_F(OffloadStrategies, PinnedCopiesAreMadeForStreamsOnly) {
  const auto pinned = [&](const char* mode) {
    Bytes bytes;
    for (const Buffer& b : Lower(GroupOffloadStrategy(), mode).schedule.buffers) {
      bytes += b.pinned && b.kind == BufferKind::kWeights ? b.bytes.at(0) : Bytes(0);
    }
    return bytes;
  };
  EXPECT_EQ(pinned("leaf"), Bytes(0));
  EXPECT_EQ(pinned("leaf:stream:low_cpu_mem"), Bytes(0));
  EXPECT_EQ(pinned("block:1:stream"), Bytes(0));  // a causal model's layers are not cut: its one group has no stream
  EXPECT_GT(pinned("leaf:stream"), model_.WeightBytes());
}

TEST_F(OffloadStrategies, SmallestBudgetsAreOrderedAsTheModesAre) {
  const auto smallest = [&](const Strategy& strategy) { return *strategy.smallest_gpu_budget(Task()); };
  EXPECT_LT(smallest(GroupOffloadStrategy()), smallest(ModelOffloadStrategy()));
  EXPECT_GT(smallest(ModelOffloadStrategy()), model_.WeightBytes());
}

TEST(ParseGroupOffload, NamesTheWordThatItDoesNotKnow) {
  const auto message = [](const char* text) {
    const Result<GroupOffload> parsed = ParseGroupOffload(text);
    return parsed.ok() ? "" : parsed.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("group-offload: '' is not understood; it is group-offload:leaf or"));
  EXPECT_THAT(message("leaf:streams"), HasSubstr("'streams' is not understood"));
  EXPECT_THAT(message("leaf:stream:stream"), HasSubstr("'stream' is not understood"));
  EXPECT_THAT(message("block"), HasSubstr("'block:' is not understood"));
  EXPECT_THAT(message("block:0"), HasSubstr("'block:0' is not understood"));
  EXPECT_THAT(message("block:2x"), HasSubstr("'block:2x' is not understood"));
  EXPECT_EQ(message("leaf:record_stream"), "group-offload: record_stream needs :stream");
  const GroupOffload all = *ParseGroupOffload("block:3:disk:low_cpu_mem:record_stream:stream");
  EXPECT_TRUE(!all.leaf && all.blocks == 3 && all.stream && all.record_stream && all.low_cpu_mem && all.disk);
}

}  // namespace
}  // namespace stowage

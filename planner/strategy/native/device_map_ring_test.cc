#include "planner/strategy/native/device_map_ring.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

struct Case {
  Model model = *ZooModel("llama-3.2-1b");
  Machine machine;
  Request request{.batch = 1, .prompt_tokens = 20, .new_tokens = 8};

  explicit Case(const std::string& gpu) : machine(*BuildMachine({.gpus = {gpu}, .cpu = "30GB", .disk = "100GB"}, {})) {}
  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
  Result<Lowered> Lower(const std::string& map) const { return DeviceMapRingStrategy().lower(task(), map); }
};

const TensorPlan& Find(const Plan& plan, const std::string& name) {
  return *std::find_if(plan.tensors.begin(), plan.tensors.end(), [&](const TensorPlan& t) { return t.name == name; });
}

void Check(const Lowered& lowered) {
  const Status plan = CheckPlan(lowered.plan), schedule = CheckSchedule(lowered.schedule);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_TRUE(schedule.ok()) << schedule.error().message;
}

// Layers 0 to 9 on the GPU by their own names.
std::string MostLayers(const std::string& others, const std::string& tables) {
  std::string map =
      R"({"model.norm": 0, "model.rotary_emb": 0, "model.embed_tokens": )" + tables + R"(, "lm_head": )" + tables;
  for (int i = 0; i < 16; ++i) map += R"(, "model.layers.)" + std::to_string(i) + R"(": )" + (i < 10 ? "0" : others);
  return map + "}";
}

TEST(DeviceMapRing, KeepsWhatTheMapHasOnTheGpuAndStreamsTheRest) {
  const Case c("4GB");
  const Result<Lowered> lowered = c.Lower(MostLayers("\"cpu\"", "0"));
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  Check(*lowered);
  EXPECT_EQ(Find(lowered->plan, "model.layers.9.mlp.up_proj.weight").parts[0].where, Where::kResident);
  EXPECT_EQ(Find(lowered->plan, "model.layers.10.mlp.up_proj.weight").parts[0].where, Where::kStreamed);
  EXPECT_EQ(Find(lowered->plan, "model.layers.10.input_layernorm.weight").parts[0].where, Where::kResident);
  ASSERT_FALSE(lowered->plan.refused.empty());
  EXPECT_EQ(lowered->plan.refused[0],
            "49.15 kB of norms and biases stay on the GPU, though the map has them elsewhere");
}

TEST(DeviceMapRing, LeavesOnTheDiskWhatTheMapHasThere) {
  const Case c("4GB");
  const Result<Lowered> lowered = c.Lower(MostLayers("\"disk\"", "0"));
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  Check(*lowered);
  EXPECT_EQ(Find(lowered->plan, "model.layers.10.mlp.up_proj.weight").parts[0].pool, "disk");
  EXPECT_EQ(Find(lowered->plan, "model.layers.10.input_layernorm.weight").parts[0].pool, "gpu0");
}

TEST(DeviceMapRing, TakesEveryMapThatLeavesItRoom) {
  for (const char* gpu : {"2GB", "2.6GB", "4GB", "t4"}) {
    const Case c(gpu);
    const Result<Lowered> lowered = c.Lower("optimal");
    ASSERT_TRUE(lowered.ok()) << gpu << ": " << lowered.error().message;
    Check(*lowered);
    const Result<Lowered> tables = c.Lower(MostLayers("\"cpu\"", "\"cpu\""));
    ASSERT_TRUE(tables.ok()) << gpu << ": " << tables.error().message;
    Check(*tables);
  }
}

TEST(DeviceMapRing, RefusesAMapThatFillsTheCard) {
  const Case c("2GB");
  const Result<Lowered> lowered = c.Lower(R"({"": 0})");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible);
  EXPECT_EQ(lowered.error().message, "device-map-ring:{\"\": 0} needs 2.95 GB of gpu0, whose budget is 2.00 GB");
}

}  // namespace
}  // namespace stowage

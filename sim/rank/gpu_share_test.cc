#include "planner/strategy/gpu_share.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "planner/machine/build_machine.h"
#include "planner/strategy/registry.h"
#include "planner/strategy/testing/random_task.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

// Two or three GPUs, alike or not, that hold from a little of a tiny llama to about half of it.
TestTask OverGpus(std::uint64_t seed) {
  TestTask out = RandomTask(seed);
  std::mt19937_64 random(seed + 3);
  out.request.all_logits = false;
  out.machine = *BuildMachine({.gpus = std::vector<std::string>(2 + seed % 2, "generic:15GB"), .cpu = "30GB"}, {});
  const auto weights = static_cast<double>(out.model.WeightBytes().value());
  for (std::size_t g = 0; g < out.machine.gpus.size(); ++g) {
    const std::string pool = fmt::format("gpu{}", g);
    const double share = 0.05 + static_cast<double>(random() % 1000) / 2000;
    for (Reservation& r : out.machine.reservations) {
      if (r.pool == pool) r.bytes = Bytes(100'000);  // or steps of 1/1000 would be larger than the model
    }
    out.Budget(pool.c_str()) = Bytes(200'000 + static_cast<std::int64_t>(weights * share));
  }
  return out;
}

// Whether some candidate's schedule runs to its end in these budgets, and its plan is sound.
bool Runs(const Strategy& strategy, const PlanningTask& task) {
  for (const std::string& parameters : strategy.candidates(task)) {
    const Result<Lowered> lowered = strategy.lower(task, parameters);
    if (!lowered) continue;
    EXPECT_TRUE(CheckPlan(lowered->plan)) << strategy.name;
    const Result<Timeline> timeline = Simulate(lowered->schedule, *task.machine);
    EXPECT_TRUE(timeline.ok() && !timeline->out_of_memory) << strategy.name;
    return true;
  }
  return false;
}

TEST(SmallestShare, FitsAndOneStepLessDoesNot) {
  int found = 0, grown = 0;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const TestTask test = OverGpus(seed);
    for (const Strategy& strategy : AllStrategies()) {
      if (!strategy.smallest_gpu_budgets) continue;
      const Result<std::vector<Bytes>> smallest = strategy.smallest_gpu_budgets(test.task());
      if (!smallest) continue;
      ++found;
      TestTask scaled = test;
      const auto set = [&](std::int64_t less) {
        for (std::size_t g = 0; g < smallest->size(); ++g) {
          const std::string pool = fmt::format("gpu{}", g);
          const Bytes now = test.machine.pools[test.machine.FindPool(pool)].budget;
          grown += g == 0 && less == 0 && (*smallest)[g] > now ? 1 : 0;
          const std::int64_t steps = ((*smallest)[g].value() * kShareSteps + now.value() - 1) / now.value() - less;
          scaled.Budget(pool.c_str()) = Bytes(now.value() * steps / kShareSteps);
        }
      };
      set(0);
      EXPECT_TRUE(Runs(strategy, scaled.task())) << strategy.name << " seed " << seed;
      set(1);
      EXPECT_FALSE(Runs(strategy, scaled.task())) << strategy.name << " seed " << seed;
    }
  }
  EXPECT_GT(found, 80);
  EXPECT_GT(grown, 5);
}

TEST(SmallestShare, SaysWhyNoBudgetsWouldDo) {
  const TestTask test = OverGpus(1);
  const Result<std::vector<Bytes>> smallest = SmallestShare(test.task(), [](const PlanningTask&) -> Status {
    return Error{ErrorCode::kInfeasible, "never"};
  });
  ASSERT_FALSE(smallest);
  EXPECT_EQ(smallest.error().message, "never");
}

}  // namespace
}  // namespace stowage

// Whatever native strategies propose must pass the checkers, which share no code with them.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>

#include "planner/schedule/check.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

// Empty when all rules hold, else what is wrong.
std::string Judge(const Lowered& lowered) {
  if (const Status plan = CheckPlan(lowered.plan); !plan) return plan.error().message;
  if (const Status schedule = CheckSchedule(lowered.schedule); !schedule) return schedule.error().message;
  for (const Buffer& b : lowered.schedule.buffers) {
    if (b.name == "staging" && b.bytes.at(0) > kStagingRing) return "staging of " + std::to_string(b.bytes.base);
  }
  return "";
}

// Some ring parameters, most of them possible.
std::string RandomRing(std::mt19937_64& random) {
  static constexpr std::int64_t kSizes[] = {65536, 65792, 70000, 90112, 131072, 200000, 1 << 20};
  return std::to_string(kSizes[random() % 7]) + (random() % 2 == 0 ? "" : ":rows");
}

TEST(NativeLowering, OfAnyLlamaRequestAndBudgetPassesTheCheckers) {
  const Strategy resident = ResidentStrategy(), ring = RingStrategy();
  int lowered_rings = 0;
  EXPECT_TRUE(rc::check([&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    TestTask test = RandomTask(seed);
    std::mt19937_64 random(seed + 1);
    const Result<Lowered> all = resident.lower(test.task(), "");
    RC_ASSERT(all.ok());
    RC_ASSERT(Judge(*all) == "");
    const Result<Bytes> least = ring.smallest_gpu_budget(test.task()), most = resident.smallest_gpu_budget(test.task());
    RC_ASSERT(least.ok() && most.ok());
    const std::int64_t span = std::max<std::int64_t>(1, (*most - *least).value() + 300'000);
    for (int i = 0; i < 4; ++i) {
      const auto extra = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(span));
      test.Budget("gpu0") = *least + Bytes(i == 0 ? 0 : extra);
      const std::string parameters = i == 0 ? "" : RandomRing(random);
      const Result<Lowered> lowered = ring.lower(test.task(), parameters);
      RC_LOG() << parameters << " in " << test.Budget("gpu0").value() << "\n";
      if (!lowered) {
        RC_LOG() << lowered.error().message << "\n";
        RC_ASSERT(i > 0 && lowered.error().code == ErrorCode::kInfeasible);
        continue;
      }
      ++lowered_rings;
      const std::string wrong = Judge(*lowered);
      RC_LOG() << wrong << "\n";
      RC_ASSERT(wrong == "");
    }
  }));
  EXPECT_GT(lowered_rings, 150);
}

}  // namespace
}  // namespace stowage

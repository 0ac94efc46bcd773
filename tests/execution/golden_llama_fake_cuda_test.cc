// The tiny llamas on the fake CUDA runtime: every order it may choose, and every dependency that is needed.
#include "exec/cuda/fake/fake_cuda.h"
#include "exec/kernel_args.h"
#include "tests/execution/golden_llama.h"

namespace stowage {
namespace {

TEST_P(GoldenLlama, GivesTheSameBytesOnTheFakeCudaRuntimeInEveryOrder) {
  const auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model);
  for (const Budgeted& b : kBudgeted) {
    const auto schedule = Lower(*model, b.strategy, b.Gpu(*model));
    if (!schedule) continue;
    std::optional<Generated> first;
    for (const FakePolicy& policy : AllPolicies(1)) {
      const auto answer = Run(*model, *schedule, MakeFakeDevices(*schedule, policy, HostKernels()));
      ASSERT_TRUE(answer) << b.strategy << ": " << answer.error().message << "; " << Describe(policy);
      if (!first) first = *Run(*model, *schedule, MakeHostDevices(*schedule));
      ASSERT_EQ(answer->tokens, first->tokens) << b.strategy << ": " << Describe(policy);
      ASSERT_TRUE(answer->logits == first->logits) << b.strategy << ": " << Describe(policy);
    }
  }
}

// As in exec/cuda/fake, on the planner's own ring.
TEST_P(GoldenLlama, NoticesEachNeededDependencyOfTheRingThatIsRemoved) {
  const auto model = LoadLlama(folder_, DType::kBF16);
  ASSERT_TRUE(model);
  const auto schedule = Lower(*model, "ring:65536:rows", kBudgeted[4].Gpu(*model));
  ASSERT_TRUE(schedule) << schedule.error().message;
  const auto expected = Run(*model, *schedule, MakeHostDevices(*schedule));
  ASSERT_TRUE(expected);
  int needed = 0;
  std::vector<std::string> missed;
  const auto end = static_cast<StepId>(schedule->steps.size());
  for (StepId step = 0; step < end; ++step) {
    for (std::size_t i = 0; i < schedule->steps[step].after.size(); ++i) {
      Schedule mutated = *schedule;
      mutated.steps[step].after.erase(mutated.steps[step].after.begin() + static_cast<std::ptrdiff_t>(i));
      if (FindProblems(mutated, {.max_problems = 1}).empty()) continue;
      ++needed;
      bool noticed = false;
      for (const FakePolicy& policy : AllPolicies(16)) {
        const auto answer = Run(*model, mutated, MakeFakeDevices(mutated, policy, HostKernels()));
        noticed = !answer || answer->tokens != expected->tokens || answer->logits != expected->logits;
        if (noticed) break;
      }
      if (!noticed) missed.push_back(fmt::format("{}: {}", schedule->StepName(step), i));
    }
  }
  fmt::print("{}: {} needed dependencies removed one at a time, {} missed\n", GetParam(), needed, missed.size());
  EXPECT_GT(needed, 0);
  EXPECT_EQ(missed, std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenLlama, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

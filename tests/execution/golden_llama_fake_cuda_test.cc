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
    const auto schedule = Lower(*model, b.strategy, b.Gpu(*model), b.small_host);
    if (!schedule) continue;
    std::optional<Generated> first;
    for (const FakePolicy& policy : AllPolicies(1, static_cast<int>(schedule->issuers.size()))) {
      const auto answer =
          Run(*model, *schedule, MakeFakeDevices(*schedule, policy, HostKernels()), policy.first_issuer);
      ASSERT_TRUE(answer) << b.strategy << ": " << answer.error().message << "; " << Describe(policy);
      if (!first) first = *Run(*model, *schedule, MakeHostDevices(*schedule));
      ASSERT_EQ(answer->tokens, first->tokens) << b.strategy << ": " << Describe(policy);
      ASSERT_TRUE(answer->logits == first->logits) << b.strategy << ": " << Describe(policy);
    }
  }
}

// As in exec/cuda/fake, on the planner's own rings: from host memory, and from the disk by an issuer of its own.
class RemovedDependencies : public GoldenLlama {
 protected:
  // Of those that are needed, every `stride`-th one.
  void EachIsNoticed(const Model& model, const Schedule& schedule, int stride) {
    const auto expected = Run(model, schedule, MakeHostDevices(schedule));
    ASSERT_TRUE(expected);
    int needed = 0;
    std::vector<std::string> missed;
    const auto end = static_cast<StepId>(schedule.steps.size());
    for (StepId step = 0; step < end; ++step) {
      for (std::size_t i = 0; i < schedule.steps[step].after.size(); ++i) {
        Schedule mutated = schedule;
        mutated.steps[step].after.erase(mutated.steps[step].after.begin() + static_cast<std::ptrdiff_t>(i));
        if (FindProblems(mutated, {.max_problems = 1}).empty()) continue;
        if (needed++ % stride != 0) continue;
        if (!Noticed(model, mutated, *expected)) missed.push_back(fmt::format("{}: {}", schedule.StepName(step), i));
      }
    }
    fmt::print("{}: each {}. of {} needed dependencies removed, one at a time, {} missed\n", GetParam(), stride, needed,
               missed.size());
    EXPECT_GT(needed, 0);
    EXPECT_EQ(missed, std::vector<std::string>{});
  }

 private:
  bool Noticed(const Model& model, const Schedule& mutated, const Generated& expected) {
    for (const FakePolicy& policy : AllPolicies(16, static_cast<int>(mutated.issuers.size()))) {
      const auto answer = Run(model, mutated, MakeFakeDevices(mutated, policy, HostKernels()), policy.first_issuer);
      if (!answer || answer->tokens != expected.tokens || answer->logits != expected.logits) return true;
    }
    return false;
  }
};

TEST_P(RemovedDependencies, OfTheRingAreNoticed) {
  const auto model = LoadLlama(folder_, DType::kBF16);
  ASSERT_TRUE(model);
  const auto schedule = Lower(*model, "ring:65536:rows", kBudgeted[4].Gpu(*model));
  ASSERT_TRUE(schedule) << schedule.error().message;
  EachIsNoticed(*model, *schedule, 1);
}

// (All 1210 were tried once, which takes a minute: 0 missed.)
TEST_P(RemovedDependencies, OfTheRingFromTheDiskAreNoticed) {
  auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model);
  SetDType(*model, FileDType(*model));  // what must be converted is never left on the disk
  const auto schedule = Lower(*model, "ring:65536:rows", kBudgeted[4].Gpu(*model), /*small_host=*/true);
  ASSERT_TRUE(schedule) << schedule.error().message;
  ASSERT_EQ(schedule->issuers.size(), 2u);
  EachIsNoticed(*model, *schedule, 4);
}

INSTANTIATE_TEST_SUITE_P(Tiny, RemovedDependencies, testing::Values("llama", "llama-tied", "qwen2", "qwen3"),
                         GoldenName);
INSTANTIATE_TEST_SUITE_P(Tiny, GoldenLlama, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

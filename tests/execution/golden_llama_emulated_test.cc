// The tiny llamas through the .cu sources, emulated.
#include "exec/cuda/fake/fake_cuda.h"
#include "exec/kernel_args.h"
#include "kernels/table.h"
#include "tests/execution/golden_llama.h"

namespace stowage {
namespace {

// The .cu sources themselves, emulated: row tiles and residency change no bit of theirs either.
TEST_P(GoldenLlama, GivesTheSameBytesThroughTheEmulatedCudaKernels) {
  const auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model);
  std::optional<Generated> first;
  for (const Budgeted& b : kBudgeted) {
    if (std::string_view(b.strategy) != "resident" && std::string_view(b.strategy) != "ring:65536:rows") continue;
    const auto schedule = Lower(*model, b.strategy, b.Gpu(*model), b.small_host);
    ASSERT_TRUE(schedule) << schedule.error().message;
    const auto answer = Run(*model, *schedule, MakeFakeDevices(*schedule, {.early = 1}, kernels::EmulatedKernels()));
    ASSERT_TRUE(answer) << answer.error().message;
    if (!first) first = *answer;
    EXPECT_EQ(answer->tokens[0], ReadGolden<std::int64_t>(folder_, "generated_ids"));
    EXPECT_TRUE(answer->logits == first->logits) << b.strategy;
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenLlama, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

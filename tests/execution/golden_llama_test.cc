// The tiny llamas through every native strategy: planner, executor and kernels together, against what transformers computed.
#include "tests/execution/golden_llama.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stowage {
namespace {

bool Has(const Schedule& schedule, std::string_view name) {
  return std::any_of(schedule.buffers.begin(), schedule.buffers.end(),
                     [&](const Buffer& buffer) { return buffer.name == name; });
}
bool HasRing(const Schedule& schedule) { return Has(schedule, "ring"); }
bool HasHostRing(const Schedule& schedule) { return Has(schedule, "host_ring"); }

TEST_P(GoldenLlama, GivesTheLogitsAndTokensOfTransformersInFp32) {
  const auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model) << model.error().message;
  const auto schedule = Lower(*model, "resident", "20MB");
  ASSERT_TRUE(schedule) << schedule.error().message;
  const auto answer = Run(*model, *schedule, MakeHostDevices(*schedule));
  ASSERT_TRUE(answer) << answer.error().message;
  const std::vector<float> expected = ReadGolden<float>(folder_, "logits");
  const std::vector<float>& got = answer->logits;
  ASSERT_EQ(got.size(), expected.size());
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(got[i] - expected[i]));
  }
  fmt::print("{}: largest logit {:.4g}, largest difference {:.3g}\n", GetParam(), largest, difference);
  EXPECT_LE(difference, 1e-4f * largest);
  EXPECT_EQ(answer->tokens[0], ReadGolden<std::int64_t>(folder_, "generated_ids"));
}

// Largest difference of two lists of logits, and of nothing if they differ in length.
float Apart(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

std::vector<float> Widened(const std::vector<std::uint16_t>& bf16) {
  std::vector<float> out;
  for (const std::uint16_t bits : bf16) out.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
  return out;
}

// Rounding to 8 bits in another order moves the logits; by how much is what transformers' own bf16 run says. The file has
// that run, so the bound is computed: ours may be no further from fp32 than twice as far.
TEST_P(GoldenLlama, StaysInBf16AsNearToFp32AsTransformersDoes) {
  const auto model = LoadLlama(folder_, DType::kBF16);
  ASSERT_TRUE(model) << model.error().message;
  const auto schedule = Lower(*model, "resident", "20MB");
  ASSERT_TRUE(schedule) << schedule.error().message;
  const auto answer = Run(*model, *schedule, MakeHostDevices(*schedule));
  ASSERT_TRUE(answer) << answer.error().message;
  const std::vector<float> exact = ReadGolden<float>(folder_, "logits");
  const float theirs = Apart(Widened(ReadGolden<std::uint16_t>(folder_, "bf16.logits")), exact);
  const float ours = Apart(answer->logits, exact);
  fmt::print("{}: bf16 is {:.3g} from fp32, transformers' {:.3g}\n", GetParam(), ours, theirs);
  EXPECT_LE(ours, 2 * theirs);
}

TEST_P(GoldenLlama, GivesTheSameBytesFromShardsAsFromOneFile) {
  if (!std::ifstream(folder_ + "/sharded/config.json")) GTEST_SKIP() << GetParam() << " has no shards";
  std::vector<Generated> answers;
  for (const char* part : {"", "/sharded"}) {
    const auto model = LoadLlama(folder_ + part, DType::kF32);
    ASSERT_TRUE(model) << model.error().message;
    const auto schedule = Lower(*model, "ring:100KB", "620KB");
    ASSERT_TRUE(schedule) << schedule.error().message;
    auto answer = Run(*model, *schedule, MakeHostDevices(*schedule));
    ASSERT_TRUE(answer) << answer.error().message;
    answers.push_back(*std::move(answer));
  }
  EXPECT_EQ(answers[0].tokens, answers[1].tokens);
  EXPECT_TRUE(answers[0].logits == answers[1].logits);
}

TEST_P(GoldenLlama, GivesTheSameBytesThroughEveryStrategyAndDtype) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const auto model = LoadLlama(folder_, dtype);
    ASSERT_TRUE(model);
    std::optional<Generated> first;
    int rings = 0, from_disk = 0;
    for (const Budgeted& b : kBudgeted) {
      const auto schedule = Lower(*model, b.strategy, b.Gpu(*model), b.small_host);
      if (!schedule) {
        fmt::print("{} {} {}: {}\n", GetParam(), b.strategy, Name(dtype), schedule.error().message);
        EXPECT_EQ(schedule.error().code, ErrorCode::kInfeasible) << schedule.error().message;
        continue;
      }
      const auto answer = Run(*model, *schedule, MakeHostDevices(*schedule));
      ASSERT_TRUE(answer) << b.strategy << ": " << answer.error().message;
      if (!first) first = *answer;
      EXPECT_EQ(answer->tokens, first->tokens) << b.strategy;
      EXPECT_TRUE(answer->logits == first->logits) << b.strategy;
      rings += HasRing(*schedule);
      from_disk += HasHostRing(*schedule);
    }
    EXPECT_GE(rings, 3) << Name(dtype);
    EXPECT_EQ(from_disk > 0, dtype == FileDType(*model)) << Name(dtype);  // nothing that must be converted
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenLlama, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

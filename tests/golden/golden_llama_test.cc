// The tiny llamas of ../shared/data/golden, planned and executed on host devices: the numbers of transformers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "exec/generate/generate.h"
#include "planner/families/families.h"
#include "planner/machine/build_machine.h"
#include "planner/schedule/check.h"
#include "planner/strategy/registry.h"
#include "planner/zoo/zoo.h"
#include "tests/golden/golden_file.h"

namespace stowage {
namespace {

constexpr std::int64_t kNewTokens = 16;

struct Answer {
  std::vector<std::int64_t> tokens;
  std::vector<float> logits;
};

std::optional<std::string> GoldenFolder() {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) return std::nullopt;
  const std::string folder = std::string(shared) + "/data/golden";
  return std::filesystem::is_directory(folder) ? std::optional(folder) : std::nullopt;
}

// A machine whose card is so small that a ring must stream; resident gets a large one.
Result<Answer> RunModel(const std::string& folder, std::optional<DType> dtype, const std::string& strategy,
                        const std::string& gpu, const GoldenFile& golden) {
  STOWAGE_TRY(Model model, LoadModel(folder));
  if (dtype) SetDType(model, *dtype);
  STOWAGE_TRY(const Machine machine, BuildMachine({.gpus = {gpu}, .cpu = "1GB"}, {}));
  const Request request{.batch = 1,
                        .prompt_tokens = static_cast<std::int64_t>(golden.prompt.size()),
                        .new_tokens = kNewTokens,
                        .dtype = dtype,
                        .all_logits = true};
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, strategy));
  STOWAGE_TRY(const Lowered lowered, choice.strategy->lower({&model, &machine, request}, choice.parameters));
  STOWAGE_RETURN_IF_ERROR(CheckPlan(lowered.plan));
  STOWAGE_RETURN_IF_ERROR(CheckSchedule(lowered.schedule));
  STOWAGE_TRY(DeviceSet devices, MakeHostDevices(lowered.schedule));
  STOWAGE_TRY(Generated out, Generate(model, request, lowered.schedule, devices, {golden.prompt}, {}));
  return Answer{std::move(out.tokens[0]), std::move(out.logits)};
}

class GoldenLlama : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::optional<std::string> folder = GoldenFolder();
    if (!folder) GTEST_SKIP() << "STOWAGE_SHARED names no folder with data/golden";
    folder_ = *folder + "/" + GetParam();
    const Result<GoldenFile> golden = ReadGolden(folder_);
    ASSERT_TRUE(golden) << golden.error().message;
    golden_ = *golden;
  }

  Answer MustRun(std::optional<DType> dtype, const std::string& strategy, const std::string& gpu) {
    Result<Answer> run = RunModel(folder_, dtype, strategy, gpu, golden_);
    EXPECT_TRUE(run) << strategy << " on " << gpu << ": " << (run ? "" : run.error().message);
    return run ? *std::move(run) : Answer{};
  }

  std::string folder_;
  GoldenFile golden_;
};

float LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    worst = std::max(worst, std::isnan(a[i]) ? INFINITY : std::abs(a[i] - b[i]));
  }
  return worst;
}

float Largest(const std::vector<float>& v) {
  float most = 0;
  for (const float x : v) most = std::max(most, std::abs(x));
  return most;
}

TEST_P(GoldenLlama, GivesTheGreedyTokensAndLogitsOfTransformersInFp32) {
  const Answer run = MustRun(DType::kF32, "resident", "20MB");
  EXPECT_EQ(run.tokens, golden_.generated);
  const float worst = LargestDifference(run.logits, golden_.logits);
  EXPECT_LE(worst, 1e-4f * Largest(golden_.logits));
  RecordProperty("largest_difference", fmt::format("{}", worst));
}

// Each of the L layers rounds each of its sums to 8 bits; the bound grows with the layers and the size of the logits.
// The file says how far transformers' own bf16 run is from fp32, and ours may not be further than twice that.
TEST_P(GoldenLlama, StaysInBf16AsNearToFp32AsTransformersDoes) {
  const Answer run = MustRun(DType::kBF16, "resident", "20MB");
  EXPECT_LE(LargestDifference(run.logits, golden_.logits), 2 * golden_.bf16_difference);
}

TEST_P(GoldenLlama, IsBitIdenticalResidentAndThroughEveryRing) {
  int rings = 0;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Answer resident = MustRun(dtype, "resident", "20MB");
    for (const char* ring : {"ring:64KiB", "ring:64KiB:rows", "ring:100KB", "ring:100KB:rows", "ring:160KiB:rows"}) {
      for (const char* gpu : {"500KB", "620KB", "800KB"}) {
        const Result<Answer> streamed = RunModel(folder_, dtype, ring, gpu, golden_);
        if (!streamed && streamed.error().code == ErrorCode::kInfeasible) continue;
        ASSERT_TRUE(streamed) << ring << " on " << gpu << ": " << streamed.error().message;
        EXPECT_EQ(streamed->tokens, resident.tokens) << ring << " on " << gpu;
        EXPECT_EQ(streamed->logits, resident.logits) << ring << " on " << gpu;
        ++rings;
      }
    }
  }
  EXPECT_GE(rings, 8);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenLlama, testing::Values("llama", "llama-tied", "llama/sharded"),
                         [](const auto& info) {
                           return std::string(info.param) == "llama/sharded" ? "sharded"
                                  : std::string(info.param) == "llama"       ? "llama"
                                                                             : "tied";
                         });

}  // namespace
}  // namespace stowage

#include "planner/quant/fits.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

std::string Lines(const std::vector<FormatFit>& fits) {
  std::string out;
  for (const FormatFit& f : fits) {
    out += fmt::format("{} {} {}{}\n", f.name, f.weights.value(), f.needed.value(), f.fits ? " fits" : "");
  }
  return out;
}

// docs/impl.md, "An estimate by hand".
TEST(RequestMemory, IsThatOfTheEstimateByHand) {
  const RequestMemory m = MemoryOf(*ZooModel("llama-8b"), {});
  EXPECT_EQ(m.kv, Bytes(83'755'008));
  EXPECT_EQ(m.activations, Bytes(37'748'736));
  EXPECT_EQ(m.logits, Bytes(2 * 128'256));
  EXPECT_EQ(m.total(), Bytes(83'755'008 + 37'748'736));
}

TEST(RequestMemory, OfExpertsIsThatOfTheOnesARowUses) {
  const RequestMemory m = MemoryOf(*ZooModel("mixtral-8x7b"), {});
  EXPECT_EQ(m.activations, Bytes(std::int64_t{512} * 2 * (2 * 4096 + 2 * 2 * 14'336)));
}

TEST(RequestMemory, WithoutACacheIsThatOfTheWholeContext) {
  const RequestMemory m = MemoryOf(*ZooModel("llama-8b"), {.kv = KvCache::kNone});
  EXPECT_EQ(m.kv, Bytes(0));
  EXPECT_EQ(m.activations, Bytes(37'748'736 / 512 * 639));
}

TEST(RequestMemory, IsNothingWithoutAShape) {
  Model model;
  EXPECT_EQ(MemoryOf(model, {}).total(), Bytes(0));
}

TEST(Fits, ListsFormatsFromTheMostBytesToTheFewest) {
  EXPECT_EQ(Lines(FormatsThatFit(*ZooModel("llama-8b"), {}, Bytes(6'000'000'000), Bytes(479'199'232))),
            "auto 16060522496 16661225472\n"
            "int8 9086705664 9687408640\n"
            "fp8 9082904576 9683607552\n"
            "q8_0 8532934656 9133637632\n"
            "q6_k 6588170240 7188873216\n"
            "nf4 6027761664 6628464640\n"
            "gptq 5732835328 6333538304\n"
            "q5_k_m 5725151232 6325854208\n"
            "nf4-double 5702540160 6303243136\n"
            "q4_k_m 4912898048 5513601024 fits\n"
            "q3_k_m 4011081728 4611784704 fits\n"
            "q2_k 3171295232 3771998208 fits\n");
}

TEST(Fits, AQuantizedModelIsOnlyItself) {
  const std::vector<FormatFit> fits = FormatsThatFit(*ZooModel("gpt-oss-20b"), {}, Bytes(16'000'000'000), Bytes(0));
  ASSERT_EQ(fits.size(), 1U);
  EXPECT_EQ(fits[0].name, "auto");
  EXPECT_TRUE(fits[0].fits);
}

}  // namespace
}  // namespace stowage

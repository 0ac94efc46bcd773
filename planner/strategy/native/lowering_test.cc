// Whatever native strategies propose must pass the checkers, which share no code with them.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>
#include <utility>

#include "planner/schedule/check.h"
#include "planner/strategy/native/layers.h"
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

// Matrices of two elements a byte with 4 bytes of scales a row and a code of 64 bytes, as quantizers leave them.
void Quantize(Model& model) {
  model.compute_dtype = model.ComputeDType();
  model.quantization = "nf4";
  for (Tensor& t : model.tensors) {
    if (t.buffer || t.shape.size() != 2) continue;
    t.dtype = DType::kNF4;
    t.scales = Bytes(4 * t.shape[0] + 64);
    t.source.reset();
  }
}

TEST(NativeLowering, OfAnyLlamaRequestAndBudgetPassesTheCheckers) {
  const Strategy resident = ResidentStrategy(), ring = RingStrategy();
  int lowered_rings = 0;
  EXPECT_TRUE(rc::check([&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    TestTask test = RandomTask(seed);
    if (seed % 3 == 0) Quantize(test.model);
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

// The smallest budget that a strategy names, of one pool: lowers with it, and not with one unit less.
void JudgeSmallest(const Strategy& strategy, TestTask& test, const char* pool, const Result<Bytes>& smallest,
                   Bytes unit) {
  if (!smallest) {
    RC_ASSERT(smallest.error().code == ErrorCode::kInfeasible);
    return;
  }
  RC_LOG() << strategy.name << ": " << smallest->value() << " of " << pool << "\n";
  const Bytes before = std::exchange(test.Budget(pool), *smallest);
  const Result<Lowered> enough = strategy.lower(test.task(), "");
  RC_LOG() << (enough ? "" : enough.error().message) << "\n";
  RC_ASSERT(enough.ok());
  RC_ASSERT(Judge(*enough) == "");
  test.Budget(pool) = *smallest - unit;
  const Result<Lowered> less = strategy.lower(test.task(), "");
  RC_ASSERT(!less.ok());
  RC_ASSERT(less.error().code == ErrorCode::kInfeasible);
  test.Budget(pool) = before;
}

TEST(NativeStrategies, LowerWithTheSmallestBudgetTheyNameAndNotWithOneUnitLess) {
  EXPECT_TRUE(rc::check([] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    TestTask test = RandomTask(seed);
    std::mt19937_64 random(seed + 2);
    if (random() % 2 == 0) test.Budget("host") = Bytes(static_cast<std::int64_t>(random() % 3'000'000));
    for (const Strategy& strategy : {ResidentStrategy(), RingStrategy(), LayersStrategy()}) {
      JudgeSmallest(strategy, test, "gpu0", strategy.smallest_gpu_budget(test.task()), kAlignment);
      const Result<Bytes> ring_least = RingStrategy().smallest_gpu_budget(RandomTask(seed).task());
      RC_ASSERT(ring_least.ok());
      test.Budget("gpu0") = *ring_least + Bytes(static_cast<std::int64_t>(random() % 1'000'000));
      JudgeSmallest(strategy, test, "host", strategy.smallest_host_budget(test.task()), Bytes(1));
    }
  }));
}

TEST(NativeStrategies, KeepHostMemoryWhileLoadingToMastersAndStaging) {
  TestTask test{TinyLlamaModel({.layers = 4, .head_dim = 64, .intermediate = 512, .vocab = 3000}), TinyMachine(), {}};
  test.request = {.prompt_tokens = 4, .new_tokens = 4};
  test.Budget("gpu0") = *RingStrategy().smallest_gpu_budget(test.task());
  const Result<Lowered> lowered = RingStrategy().lower(test.task(), "");
  ASSERT_TRUE(lowered.ok());
  Bytes masters, staging, others;
  for (const Buffer& b : lowered->schedule.buffers) {
    if (b.parent >= 0 || lowered->schedule.pools[b.pool].name != "host") continue;
    (b.name == "host_weights" ? masters : b.name == "staging" ? staging : others) += b.bytes.at(0);
  }
  EXPECT_GT(masters.value(), 2'000'000);
  EXPECT_LE(staging, kStagingRing);
  EXPECT_LT(others.value(), 1000);  // the prompt, the answer, the rope table
}

TEST(NativeStrategies, SayThatAModelWithoutAHeadMakesNoTokens) {
  TestTask test{TinyLlamaModel({.head = false}), TinyMachine(), {}};
  for (const Strategy& strategy : {ResidentStrategy(), RingStrategy()}) {
    const Result<Lowered> lowered = strategy.lower(test.task(), "");
    ASSERT_FALSE(lowered.ok());
    EXPECT_EQ(lowered.error().code, ErrorCode::kInvalidInput);
    EXPECT_EQ(lowered.error().message, "tiny is a LlamaModel: without a head it makes no tokens");
  }
}

TEST(NativeStrategies, NameTheHostItsNeedAndItsBudgetWhenTheHostIsTooSmall) {
  TestTask test{TinyLlamaModel({.layers = 4, .head_dim = 64, .intermediate = 512, .vocab = 3000}), TinyMachine(), {}};
  test.request = {.prompt_tokens = 4, .new_tokens = 4};
  test.Budget("gpu0") = *RingStrategy().smallest_gpu_budget(test.task());
  test.Budget("host") = Bytes(100'000);
  const Result<Lowered> lowered = RingStrategy().lower(test.task(), "");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().message,
            "ring:65536 needs 834.2 kB of host (768.0 kB for weights), whose budget is 100.0 kB");
}

TEST(RingStrategy, NamesWhatIsWrongWithItsParameters) {
  TestTask test{TinyLlamaModel({}), TinyMachine(), {}};
  const auto message = [&](const char* parameters) {
    const Result<Lowered> lowered = RingStrategy().lower(test.task(), parameters);
    return lowered ? "fine" : lowered.error().message;
  };
  EXPECT_EQ(message("64KiB:columns"), "ring streams 'tensors' or 'rows', not 'columns'");
  EXPECT_EQ(message("1000"), "a ring of 1.00 kB is smaller than 65.54 kB, the least there can be");
  EXPECT_EQ(message("64KiB:rows"), "fine");
}

}  // namespace
}  // namespace stowage

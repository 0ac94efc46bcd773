// The instances that ILP and constraint solvers do not finish within an hour: each decided, and what is known of the
// smallest capacity. Steps stand for time: 1,000 of them take one to four milliseconds.
#include "planner/solve/pack/testing/minimalloc.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

class Minimalloc : public testing::TestWithParam<char> {};

TEST_P(Minimalloc, FitsTheCapacityWithinFewSteps) {
  const auto items = MinimallocInstance(GetParam());
  if (!items) GTEST_SKIP() << "STOWAGE_SHARED has no data/minimalloc";
  const PackDecision d = PackWithin(*items, Bytes(1), kMinimallocCapacity, 100'000);
  ASSERT_EQ(d.answer, PackAnswer::kFits);
  EXPECT_TRUE(IsPacked(*items, d.offsets, kMinimallocCapacity, Bytes(1)));
}

// The optimum is known for all but D and J: the live bytes.
TEST_P(Minimalloc, IsPackedOptimallyOrWithin4Percent) {
  const auto items = MinimallocInstance(GetParam());
  if (!items) GTEST_SKIP() << "STOWAGE_SHARED has no data/minimalloc";
  const Packing p = Pack(*items, Bytes(1), 200'000);
  EXPECT_TRUE(IsPacked(*items, p.offsets, p.size, Bytes(1)));
  EXPECT_EQ(p.lower_bound, Pack(*items, Bytes(1), 0).lower_bound);
  if (GetParam() == 'D' || GetParam() == 'J') {
    EXPECT_LT(p.Gap(), 0.04);
  } else {
    EXPECT_EQ(p.size, p.lower_bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Instances, Minimalloc, testing::Range('A', 'L'),
                         [](const testing::TestParamInfo<char>& info) { return std::string(1, info.param); });

}  // namespace
}  // namespace stowage

#include "sim/rank/pareto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace stowage {
namespace {

using Indices = std::vector<std::size_t>;

TEST(ParetoFront, KeepsWhatNothingElseBeats) {
  EXPECT_EQ(ParetoFront({{4, 1, 0}, {2, 2, 0}, {3, 2, 0}, {1, 9, 0}, {2, 3, 0}}), (Indices{0, 1, 3}));
}

TEST(ParetoFront, AThirdCostKeepsWhatTheOthersWouldDrop) {
  EXPECT_EQ(ParetoFront({{1, 1, 2}, {2, 2, 1}, {2, 2, 2}}), (Indices{0, 1}));
}

TEST(ParetoFront, OfEqualPointsTheFirstStays) {
  EXPECT_EQ(ParetoFront({{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}), (Indices{0}));
  EXPECT_EQ(ParetoFront({}), Indices{});
}

// What a front is: its points beat each other nowhere, and each other point is beaten by one of it.
TEST(ParetoFront, HoldsForRandomPoints) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> cost(0, 9);
  for (int round = 0; round < 200; ++round) {
    std::vector<Costs> points;
    for (int i = 0; i < 30; ++i) {
      points.push_back(
          {static_cast<double>(cost(random)), static_cast<double>(cost(random)), static_cast<double>(cost(random))});
    }
    const auto covers = [](const Costs& a, const Costs& b) { return a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]; };
    const Indices front = ParetoFront(points);
    for (std::size_t i = 0; i < points.size(); ++i) {
      const bool in_front = std::find(front.begin(), front.end(), i) != front.end();
      int covered_by = 0;
      for (const std::size_t f : front) covered_by += covers(points[f], points[i]) ? 1 : 0;
      EXPECT_GE(covered_by, 1);
      if (in_front) {
        EXPECT_EQ(covered_by, 1);  // itself
      }
    }
  }
}

}  // namespace
}  // namespace stowage

#include "planner/solve/spread.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace stowage {
namespace {

std::vector<SpreadItem> Equal(int count, std::int64_t rows) {
  return std::vector<SpreadItem>(count, {Bytes(10), rows});
}

TEST(Spread, KeepsEverythingWhenItFits) {
  EXPECT_EQ(SpreadResident(Equal(3, 4), Bytes(120), Grain::kTensors, Bytes(1)), (std::vector<std::int64_t>{4, 4, 4}));
}

TEST(Spread, StreamsEverySecondOfEqualMatricesAtHalfTheBudget) {
  EXPECT_EQ(SpreadResident(Equal(6, 1), Bytes(30), Grain::kTensors, Bytes(1)),
            (std::vector<std::int64_t>{1, 0, 1, 0, 1, 0}));
}

TEST(Spread, StreamsTheSameShareOfRowsOfEachMatrix) {
  EXPECT_EQ(SpreadResident(Equal(3, 8), Bytes(120), Grain::kRows, Bytes(1)), (std::vector<std::int64_t>{4, 4, 4}));
}

TEST(Spread, FillsTheBudgetToTheRow) {
  EXPECT_EQ(SpreadResident(Equal(2, 8), Bytes(135), Grain::kTensors, Bytes(1)), (std::vector<std::int64_t>{8, 5}));
}

TEST(Spread, KeepsNothingWithoutABudget) {
  EXPECT_EQ(SpreadResident(Equal(2, 8), Bytes(-5), Grain::kRows, Bytes(256)), (std::vector<std::int64_t>{0, 0}));
}

std::vector<SpreadItem> RandomItems() {
  const auto count = *rc::gen::inRange(1, 40);
  std::vector<SpreadItem> items;
  for (int i = 0; i < count; ++i)
    items.push_back({Bytes(*rc::gen::inRange(1, 300)), *rc::gen::inRange<std::int64_t>(1, 50)});
  return items;
}

TEST(Spread, NeverPassesTheBudgetAndLeavesLessThanARowAndItsRounding) {
  EXPECT_TRUE(rc::check([] {
    const auto items = RandomItems();
    const Bytes alignment(*rc::gen::element(1, 64, 256));
    const Grain grain = *rc::gen::element(Grain::kTensors, Grain::kRows);
    Bytes total, largest;
    for (const SpreadItem& i : items) {
      total += RoundUp(i.row * i.rows, alignment);
      largest = std::max(largest, i.row);
    }
    const Bytes budget(*rc::gen::inRange<std::int64_t>(0, total.value() + 100));
    const auto resident = SpreadResident(items, budget, grain, alignment);
    Bytes used;
    bool all = true;
    for (std::size_t i = 0; i < items.size(); ++i) {
      RC_ASSERT(resident[i] >= 0 && resident[i] <= items[i].rows);
      used += RoundUp(items[i].row * resident[i], alignment);
      all = all && resident[i] == items[i].rows;
    }
    RC_ASSERT(used <= budget);
    RC_ASSERT(all || budget - used < RoundUp(largest, alignment) + alignment);
  }));
}

TEST(Spread, StreamedBytesFollowTheirShareWithinTwoMatricesAllAlong) {
  EXPECT_TRUE(rc::check([] {
    const auto items = RandomItems();
    std::int64_t total = 0, largest = 0;
    for (const SpreadItem& i : items) {
      total += i.row.value() * i.rows;
      largest = std::max(largest, i.row.value() * i.rows);
    }
    const Bytes budget(*rc::gen::inRange<std::int64_t>(0, total));
    const auto resident = SpreadResident(items, budget, Grain::kTensors, Bytes(1));
    double passed = 0, kept = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      passed += static_cast<double>(items[i].row.value() * items[i].rows);
      kept += static_cast<double>(items[i].row.value() * resident[i]);
      const double ideal = passed * static_cast<double>(budget.value()) / static_cast<double>(total);
      RC_ASSERT(std::abs(kept - ideal) <= 2.0 * static_cast<double>(largest) + 1);
    }
  }));
}

}  // namespace
}  // namespace stowage

#include "planner/solve/pack/pack.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace stowage {
namespace {

// The independent judge: no two items that live together overlap, all aligned, none beyond the arena.
bool Valid(const std::vector<PackItem>& items, const Packing& p, Bytes alignment) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (p.offsets[i].value() % alignment.value() != 0 || p.offsets[i] + items[i].size > p.size) return false;
    for (std::size_t j = 0; j < i; ++j) {
      const bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
      const bool apart = p.offsets[i] + items[i].size <= p.offsets[j] || p.offsets[j] + items[j].size <= p.offsets[i];
      if (together && !apart) return false;
    }
  }
  return true;
}

// The referee: tries every placement order with first fit, which contains an optimum (Robson). Only for a handful of
// items.
Bytes BruteForce(const std::vector<PackItem>& items) {
  std::vector<int> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  std::int64_t best = -1;
  do {
    std::vector<std::int64_t> offset(items.size());
    std::int64_t top = 0;
    for (std::size_t n = 0; n < order.size(); ++n) {
      const PackItem& item = items[order[n]];
      std::int64_t at = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (std::size_t m = 0; m < n; ++m) {
          const PackItem& other = items[order[m]];
          const bool together = item.first <= other.last && other.first <= item.last;
          const std::int64_t end = offset[order[m]] + other.size.value();
          if (together && at < end && offset[order[m]] < at + item.size.value()) {
            at = end;
            moved = true;
          }
        }
      }
      offset[order[n]] = at;
      top = std::max(top, at + item.size.value());
    }
    if (best < 0 || top < best) best = top;
  } while (std::next_permutation(order.begin(), order.end()));
  return Bytes(std::max<std::int64_t>(best, 0));
}

TEST(Pack, ReusesTheBytesOfAnItemThatDied) {
  const std::vector<PackItem> items = {{Bytes(8), 0, 2}, {Bytes(4), 1, 4}, {Bytes(8), 3, 3}};
  const Packing p = Pack(items, Bytes(1));
  EXPECT_EQ(p.size, Bytes(12));
  EXPECT_EQ(p.lower_bound, Bytes(12));
  EXPECT_EQ(p.Gap(), 0);
}

TEST(Pack, AnEmptyArenaHasNoBytesAndNoGap) {
  const Packing p = Pack({}, Bytes(256));
  EXPECT_EQ(p.size, Bytes(0));
  EXPECT_EQ(p.Gap(), 0);
}

TEST(Pack, EveryPackingIsValidAndBetweenTheBoundAndTheSum) {
  EXPECT_TRUE(rc::check([] {
    const auto count = *rc::gen::inRange(0, 40);
    std::vector<PackItem> items;
    for (int i = 0; i < count; ++i) {
      const int first = *rc::gen::inRange(0, 20);
      items.push_back({Bytes(*rc::gen::inRange(1, 1000)), first, first + *rc::gen::inRange(0, 6)});
    }
    const Bytes alignment(*rc::gen::element(1, 16, 256));
    const Packing p = Pack(items, alignment);
    RC_ASSERT(Valid(items, p, alignment));
    RC_ASSERT(p.size >= p.lower_bound);
  }));
}

TEST(Pack, IsNeverBetterThanBruteForceAndItsBoundNeverAboveIt) {
  int optimal = 0, tried = 0;
  EXPECT_TRUE(rc::check([&] {
    std::vector<PackItem> items;
    for (int i = 0; i < 6; ++i) {
      const int first = *rc::gen::inRange(0, 6);
      items.push_back({Bytes(*rc::gen::inRange(1, 9)), first, first + *rc::gen::inRange(0, 4)});
    }
    const Packing p = Pack(items, Bytes(1));
    const Bytes best = BruteForce(items);
    RC_ASSERT(p.lower_bound <= best);
    RC_ASSERT(p.size >= best);
    optimal += p.size == best;
    ++tried;
  }));
  EXPECT_GT(optimal * 10, tried * 7) << optimal << " of " << tried << " optimal";
}

}  // namespace
}  // namespace stowage

#include "planner/solve/pack/pack.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

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

std::vector<PackItem> SomeItems(std::mt19937& random, int count, int times, int longest, int largest) {
  std::vector<PackItem> items;
  for (int i = 0; i < count; ++i) {
    const auto first = static_cast<std::int32_t>(random() % times);
    items.push_back({Bytes(random() % 20 == 0 ? 0 : 1 + random() % largest), first,
                     first + static_cast<std::int32_t>(random() % longest)});
  }
  return items;
}

TEST(Pack, IsAsSmallAsBruteForceFindsAndProvesIt) {
  int searched = 0;
  for (int seed = 0; seed < 2500; ++seed) {
    std::mt19937 random(seed);
    const int count = seed % 250 == 0 ? 8 : 3 + seed % 5;
    const std::vector<PackItem> items = SomeItems(random, count, 6, 4, 9);
    const Packing p = Pack(items, Bytes(1), 1'000'000);
    ASSERT_TRUE(Valid(items, p, Bytes(1))) << seed;
    ASSERT_EQ(p.size, BruteForce(items)) << seed;
    ASSERT_EQ(p.lower_bound, p.size) << seed;
    searched += p.order == "search" ? 1 : 0;
  }
  EXPECT_GT(searched, 10);  // greedy was not good enough
}

// Items added at random for as long as they never exceed `alive` bytes at once: hardly anything is left free, so some
// of them do not fit in as many bytes.
std::vector<PackItem> TightItems(std::mt19937& random, std::int32_t times, std::int64_t alive) {
  std::vector<PackItem> items;
  std::vector<std::int64_t> used(times, 0);
  for (int refused = 0; refused < 40;) {
    const auto first = static_cast<std::int32_t>(random() % times);
    const std::int32_t last = std::min(times - 1, first + static_cast<std::int32_t>(random() % 4));
    const auto size = static_cast<std::int64_t>(1 + random() % 4);
    if (*std::max_element(used.begin() + first, used.begin() + last + 1) + size > alive) {
      ++refused;
      continue;
    }
    for (std::int32_t t = first; t <= last; ++t) used[t] += size;
    items.push_back({Bytes(size), first, last});
  }
  return items;
}

// The second referee: every offset of every item.
bool FitsSomehow(const std::vector<PackItem>& items, Bytes capacity, std::vector<Bytes>& offsets) {
  if (offsets.size() == items.size()) return true;
  const PackItem& item = items[offsets.size()];
  for (Bytes at; at + item.size <= capacity; at += Bytes(1)) {
    bool free = true;
    for (std::size_t j = 0; j < offsets.size() && free; ++j) {
      const bool together = item.first <= items[j].last && items[j].first <= item.last;
      free = !together || at + item.size <= offsets[j] || offsets[j] + items[j].size <= at;
    }
    if (!free) continue;
    offsets.push_back(at);
    if (FitsSomehow(items, capacity, offsets)) return true;
    offsets.pop_back();
  }
  return false;
}

TEST(Pack, ExceedsTheMostAliveOnlyWhereNothingElseFits) {
  int above = 0;
  for (int seed = 0; seed < 12'000; ++seed) {
    std::mt19937 random(seed);
    const std::vector<PackItem> items = TightItems(random, 8, 6);
    const Packing p = Pack(items, Bytes(1), 1'000'000);
    ASSERT_TRUE(Valid(items, p, Bytes(1))) << seed;
    ASSERT_EQ(p.lower_bound, p.size) << seed;
    if (p.size == Pack(items, Bytes(1), 0).lower_bound) continue;
    std::vector<Bytes> offsets;
    EXPECT_FALSE(FitsSomehow(items, p.size - Bytes(1), offsets)) << seed;
    ++above;
  }
  EXPECT_GT(above, 10);
}

TEST(PackWithin, FitsExactlyFromTheSmallestSizeOn) {
  for (int seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const std::vector<PackItem> items = SomeItems(random, 6, 6, 4, 9);
    const Bytes best = BruteForce(items);
    const PackDecision fits = PackWithin(items, Bytes(1), best, 1'000'000);
    ASSERT_EQ(fits.answer, PackAnswer::kFits) << seed;
    EXPECT_TRUE(Valid(items, {.offsets = fits.offsets, .size = best}, Bytes(1))) << seed;
    if (best == Bytes(0)) continue;
    EXPECT_EQ(PackWithin(items, Bytes(1), best - Bytes(1), 1'000'000).answer, PackAnswer::kDoesNot) << seed;
  }
}

TEST(Pack, MoreStepsAreNeverWorse) {
  int better = 0;
  for (int seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const std::vector<PackItem> items = SomeItems(random, 40, 40, 20, 50);
    const Packing greedy = Pack(items, Bytes(1), 0);
    const Packing some = Pack(items, Bytes(1), 500);
    const Packing more = Pack(items, Bytes(1), 5'000);
    for (const Packing& p : {greedy, some, more}) ASSERT_TRUE(Valid(items, p, Bytes(1))) << seed;
    EXPECT_EQ(greedy.steps, 0);
    EXPECT_LE(some.size, greedy.size);
    EXPECT_LE(more.size, some.size);
    EXPECT_GE(more.lower_bound, some.lower_bound);
    better += more.size < greedy.size ? 1 : 0;
  }
  EXPECT_GT(better, 30);
}

TEST(Pack, NeedsNoSearchForAStackOfEqualLayers) {
  std::vector<PackItem> items = {{Bytes(4096), 0, 320}};  // the residual stream
  for (std::int32_t layer = 0; layer < 32; ++layer) {
    const std::int32_t at = 10 * layer;
    items.push_back({Bytes(4096), at, at + 3});
    items.push_back({Bytes(6144), at + 1, at + 2});
    items.push_back({Bytes(4096), at + 4, at + 6});
    items.push_back({Bytes(14336), at + 5, at + 7});
    items.push_back({Bytes(14336), at + 6, at + 7});
  }
  const Packing p = Pack(items, Bytes(256));
  EXPECT_EQ(p.size, Bytes(4096 + 4096 + 2 * 14336));
  EXPECT_EQ(p.Gap(), 0);
  EXPECT_EQ(p.steps, 0);
}

}  // namespace
}  // namespace stowage

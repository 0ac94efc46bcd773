#include "planner/strategy/native/ring.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <utility>

#include "planner/strategy/native/loop.h"

namespace stowage {
namespace {

// A pass of one launch per item, items of these sizes in units of the alignment.
PassUnits Items(const std::vector<std::int64_t>& sizes) {
  PassUnits out;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    out.units.push_back({.kernel = static_cast<std::int32_t>(i), .item = static_cast<std::int32_t>(i)});
    out.items.push_back({.tensor = static_cast<TensorId>(i), .row_end = 1, .bytes = kAlignment * sizes[i]});
    out.tiles.push_back(1);
  }
  return out;
}

std::string Text(const RingOffsets& offsets) {
  std::string out;
  const auto line = [&](const std::string& name, const std::vector<Bytes>& at) {
    out += name;
    for (const Bytes b : at) out += fmt::format(" [{}]", b.value() / kAlignment.value());
    out += "\n";
  };
  line("prefill", offsets.prefill);
  for (std::size_t p = 0; p < offsets.decode.size(); ++p) line(fmt::format("pass {}", p), offsets.decode[p]);
  return out;
}

std::string Text(const RingOrder& order) {
  std::string out;
  for (std::size_t p = 0; p + 1 < order.begin.size(); ++p) {
    out += fmt::format("pass {}:\n", p);
    for (std::int32_t s = order.begin[p]; s < order.begin[p + 1]; ++s) {
      const RingStep& step = order.steps[s];
      out += fmt::format("  {}: {} {}.{}", s, step.copy ? "copy" : "launch", step.pass, step.index);
      for (const std::int32_t a : step.after) out += fmt::format(" after {}", a);
      out += "\n";
    }
  }
  return out;
}

TEST(PlaceInRing, ThreeBlocksInTwoSlotsRepeatAfterTwoPasses) {
  EXPECT_EQ(Text(PlaceInRing(Items({1, 1, 1}).items, Items({1, 1, 1}).items, kAlignment * 2)), R"(prefill [0] [1] [0]
pass 0 [0] [1] [0]
pass 1 [1] [0] [1]
)");
}

TEST(PlaceInRing, SkipsTheEndOfTheRingWhenAnItemWouldNotFitThere) {
  EXPECT_EQ(Text(PlaceInRing(Items({2, 2}).items, Items({2, 2}).items, kAlignment * 3)), R"(prefill [0] [0]
pass 0 [0] [0]
)");
}

TEST(OrderRing, CopiesRunAheadAcrossTokensAsFarAsTheRingAllows) {
  const PassUnits pass = Items({1, 1, 1});
  const RingOffsets offsets = PlaceInRing(pass.items, pass.items, kAlignment * 2);
  const Result<RingOrder> order = OrderRing(pass, pass, offsets, kAlignment * 2, 2);
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(Text(*order), R"(pass 0:
  0: copy 0.0
  1: copy 0.1
  2: launch 0.0 after 0
  3: copy 0.2 after 2
  4: launch 0.1 after 1
  5: launch 0.2 after 3
  6: copy 1.0 after 5
  7: copy 1.1 after 4
pass 1:
  8: launch 1.0 after 6
  9: copy 1.2 after 8
  10: launch 1.1 after 7
  11: copy 2.0 after 10
  12: launch 1.2 after 9
  13: copy 2.1 after 12
pass 2:
  14: launch 2.0 after 11
  15: copy 2.2 after 14
  16: launch 2.1 after 13
  17: launch 2.2 after 15
)");
}

TEST(OrderRing, RefusesAnOrderOfUseThatTheRingCannotServe) {
  PassUnits pass = Items({2, 2});
  std::swap(pass.units[0].item, pass.units[1].item);  // the second item is needed while the first fills the ring
  const RingOffsets offsets = PlaceInRing(pass.items, pass.items, kAlignment * 2);
  const Result<RingOrder> order = OrderRing(pass, pass, offsets, kAlignment * 2, 1);
  ASSERT_FALSE(order.ok());
  EXPECT_EQ(order.error().message, "a ring of 512 B cannot hold a piece of 512 B");
}

// One step as it happens in absolute pass `pass`: references as (copy, pass, index) of what they point at.
using Event = std::string;
std::string NameOf(const RingStep& s, std::int64_t pass) {
  return fmt::format("{}{}.{}", s.copy ? "c" : "l", pass, s.index);
}

// What the folded loop does when it is run, with absolute passes.
std::vector<Event> Unfold(const PassLoop& loop) {
  std::vector<Event> out;
  const auto run = [&](const PassLoop::Range& range, const PassLoop::Range& as, std::int64_t shift) {
    for (std::int32_t i = 0; i < range.end - range.begin; ++i) {
      const RingStep& step = loop.steps[as.begin + i];
      Event e = NameOf(step, step.pass + shift);
      for (const std::int32_t r : step.after) e += " " + NameOf(loop.steps[r], loop.steps[r].pass + shift);
      out.push_back(e);
    }
  };
  run(loop.prefill, loop.prefill, 0);
  run(loop.prologue, loop.prologue, 0);
  const std::int32_t length = loop.body.end - loop.body.begin;
  const PassLoop::Range steady{loop.body.end, loop.body.end + length, 0, 0};
  for (std::int64_t i = 0; i < loop.iterations; ++i) {
    if (i == 0) {
      run(loop.body, loop.body, 0);
    } else {
      run(loop.body, steady, (i - 1) * loop.period);
    }
  }
  // The epilogue was ordered behind two groups: it stands behind `iterations`.
  run(loop.epilogue, loop.epilogue, loop.iterations > 0 ? (loop.iterations - 2) * loop.period : 0);
  return out;
}

TEST(FindLoop, FoldedRunsTheStepsOfTheUnrolledOrder) {
  int folded = 0;
  EXPECT_TRUE(rc::check([&] {
    const auto sizes = *rc::gen::nonEmpty(
        rc::gen::resize(9, rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(1, 6))));
    const std::int64_t largest = *std::max_element(sizes.begin(), sizes.end());
    const Bytes ring = kAlignment * *rc::gen::inRange<std::int64_t>(largest, 4 * largest + 8);
    const auto passes = *rc::gen::inRange<std::int32_t>(1, 60);
    PassUnits pass = Items(sizes);
    for (const std::size_t at : {0u, 2u}) {  // launches whose weight is resident
      if (at <= pass.units.size()) pass.units.insert(pass.units.begin() + at, Unit{});
    }
    const RingOffsets offsets = PlaceInRing(pass.items, pass.items, ring);
    const Result<PassLoop> loop = FindLoop(pass, pass, offsets, ring, passes);
    const Result<RingOrder> order = OrderRing(pass, pass, offsets, ring, passes);
    RC_ASSERT(loop.ok() && order.ok());
    if (loop->iterations > 0) ++folded;
    RC_ASSERT(loop->prologue_passes + loop->iterations * loop->period + loop->epilogue_passes == passes);
    std::vector<Event> expected;
    for (const RingStep& s : order->steps) {
      Event e = NameOf(s, s.pass);
      for (const std::int32_t r : s.after) e += " " + NameOf(order->steps[r], order->steps[r].pass);
      expected.push_back(e);
    }
    RC_ASSERT(Unfold(*loop) == expected);
  }));
  EXPECT_GT(folded, 30);
}

}  // namespace
}  // namespace stowage

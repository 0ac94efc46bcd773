#include "planner/machine/spread.h"

#include <gtest/gtest.h>

#include <string>

#include "planner/machine/build_machine.h"

namespace stowage {
namespace {

Machine On(const std::string& gpu) { return *BuildMachine({.gpus = {gpu}, .cpu = "30GB"}, {}); }

const Resource& Of(const Machine& machine, std::string_view name) {
  return machine.resources[static_cast<std::size_t>(machine.FindResource(name))];
}

// A row whose rates are published measurements, or the fit's own card.
bool Measured(const CardRow& row) {
  return row.total_bytes_low > 0 && (row.id == "rtx4090" || row.flops_efficiency != 0.97);
}

// The class is what the table's measured cards are, so each of them must lie within it.
TEST(Spread, TheIntervalOfTheClassHoldsEveryMeasuredCardOfTheTableButTheThrottledT4) {
  int flops = 0, memory = 0;
  for (const CardRow& row : KnownCards()) {
    if (row.total_bytes_low == 0 || row.id == "t4") continue;
    if (Measured(row)) {
      ++flops;
      EXPECT_GE(row.flops_efficiency, 0.97 * kClassFlops.low) << row.id;
      EXPECT_LE(row.flops_efficiency, 0.97 * kClassFlops.high) << row.id;
    }
    if (row.memory_efficiency != 0.93) {
      ++memory;
      EXPECT_GE(row.memory_efficiency, 0.93 * kClassMemory.low) << row.id;
      EXPECT_LE(row.memory_efficiency, 0.93 * kClassMemory.high + 0.06) << row.id;  // over the peak: other clocks
    }
  }
  EXPECT_GE(flops, 5);
  EXPECT_GE(memory, 5);
}

TEST(Spread, AMeasuredCardIsExactAndItsAssumedLinkIsNot) {
  const Machine fitted = On("rtx4090");
  EXPECT_EQ(Of(fitted, "gpu0.sm").flops_spread, Spread());
  EXPECT_EQ(Of(fitted, "gpu0.sm").rate_spread, Spread());
  EXPECT_EQ(Of(fitted, "gpu0.h2d").rate_spread, kAssumedLink);
  const Machine measured = On("t4");
  EXPECT_EQ(Of(measured, "gpu0.h2d").rate_spread, Spread());
  const Machine sheet = On("rtx3080");
  EXPECT_EQ(Of(sheet, "gpu0.sm").flops_spread, kClassFlops);
  EXPECT_EQ(Of(sheet, "gpu0.sm").rate_spread, kClassMemory);
}

TEST(Spread, ABareSizeSpansTheCardsOfThatSize) {
  const Machine generic = On("15GB");
  const Resource& sm = Of(generic, "gpu0.sm");
  const double memory = 320 * (233.6 / 320);
  EXPECT_DOUBLE_EQ(sm.rate_spread.low, 1);  // the T4, which the generic card is
  for (const char* id : {"rtx4080", "v100-16", "rtx5080"}) {
    const CardRow& row = **FindCard(id);
    EXPECT_GE(sm.rate_spread.high * memory, row.memory_gbs * row.memory_efficiency * 0.999) << id;
  }
  const CardRow& big = **FindCard("h100");
  EXPECT_LT(sm.rate_spread.high * memory, big.memory_gbs * big.memory_efficiency);
}

TEST(Spread, TheEndsAreExactMachinesOnEitherSideOfTheExpectedOne) {
  const Machine expected = On("15GB");
  const Machine best = AtBest(expected), worst = AtWorst(expected);
  EXPECT_TRUE(HasIntervals(expected));
  EXPECT_FALSE(HasIntervals(best) || HasIntervals(worst));
  for (const char* name : {"gpu0.h2d", "disk0", "host.dram"}) {
    EXPECT_GT(Of(best, name).transfer->pinned, Of(expected, name).transfer->pinned) << name;
    EXPECT_LE(Of(worst, name).transfer->pinned, Of(expected, name).transfer->pinned) << name;
  }
  const double link = Of(expected, "gpu0.h2d").rate_spread.high;
  EXPECT_DOUBLE_EQ(Of(best, "gpu0.sm").compute->in_place.value(),
                   Of(expected, "gpu0.sm").compute->in_place.value() * link);
  EXPECT_LT(best.dispatch.torch_operator, expected.dispatch.torch_operator);
  EXPECT_GT(worst.dispatch.torch_operator, expected.dispatch.torch_operator);
  EXPECT_EQ(best.Reserved("gpu0"), kLeastCudaContext);
  EXPECT_EQ(worst.Reserved("gpu0"), kCudaContext);
}

TEST(Spread, AFasterLinkIsFasterForCopiesAndForKernelsThatReadOverIt) {
  const Machine before = On("t4");
  const Machine after = Faster(before, "gpu0.h2d", 2);
  EXPECT_DOUBLE_EQ(Of(after, "gpu0.h2d").transfer->pinned.value(), 2 * 12.4e9);
  EXPECT_DOUBLE_EQ(Of(after, "gpu0.sm").compute->in_place.value(), 2 * 12.4e9);
  EXPECT_EQ(Of(after, "gpu0.sm").compute->memory, Of(before, "gpu0.sm").compute->memory);
  EXPECT_EQ(Of(after, "gpu0.d2h"), Of(before, "gpu0.d2h"));
}

TEST(Spread, IsSaidInOneSentence) {
  EXPECT_EQ(
      IntervalSentence(On("rtx3080")),
      "Low and high are with all of these at an end of their interval: gpu0.sm 0.77 to 1.03 of its FLOPS and 0.85 "
      "to 1.03 of its bandwidth, gpu0.h2d 0.5 to 1.06, gpu0.d2h 0.5 to 1.06, host.cores 0.25 to 10 of its FLOPS and "
      "0.5 to 5 of its bandwidth, host.dram 0.5 to 5, disk0 0.19 to 2.4, dispatch costs 0.75 to 1.17.");
  EXPECT_EQ(IntervalSentence(AtBest(On("rtx3080"))), "");
}

}  // namespace
}  // namespace stowage

#include "tools/plan_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "planner/machine/build_machine.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"
#include "planner/strategy/torch/torch_resident.h"
#include "reports/plan_text.h"

namespace stowage {
namespace {

// Half a megabyte of weights on a card without reservations or intervals and a host that says nothing about itself.
TestTask Small() {
  TestTask out{
      TinyLlamaModel({.layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 16, .intermediate = 256, .vocab = 512}),
      TinyMachine(),
      {}};
  out.machine.name = "a small card";
  out.machine.reservations.clear();
  out.machine.assumptions.clear();
  for (Resource& r : out.machine.resources) r.flops_spread = r.rate_spread = Spread();
  out.machine.dispatch.spread = Spread();
  out.machine.resources[out.machine.FindResource("host.cores")].compute->memory = BytesPerSecond(1e8);
  out.request = {.prompt_tokens = 8, .new_tokens = 8};
  return out;
}

// A ring of its own, not what another strategy would do.
Strategy PlainRing() {
  Strategy out = RingStrategy();
  out.candidates = [](const PlanningTask& task) {
    std::vector<std::string> all = RingStrategy().candidates(task);
    std::erase_if(all, [](const std::string& p) { return p.starts_with("device-map") || p.starts_with("layers"); });
    return all;
  };
  return out;
}

PlanReport Report(const TestTask& test) {
  return ReportOf(test.task(), Rank({ResidentStrategy(), PlainRing()}, test.task()));
}

// The screen of a task with these budgets, from the table on, without formats and lines to paste (plan_paste_test).
std::string TableAndBelow(std::int64_t gpu, std::int64_t host) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(gpu);
  test.Budget("host") = Bytes(host);
  PlanReport report = Report(test);
  report.paste.clear();
  report.formats.clear();
  const std::string text = PlanText(report, false);
  return text.substr(text.find("\n\n") + 2);
}

TEST(PlanReport, OfASmallModelOnASmallCardReadsLikeThis) {
  EXPECT_EQ(TableAndBelow(400'000, 4'000'000),
            R"(strategy    runtime  fits      gpu0      host  needs gpu0  first token  per token  tokens/s  limited by
ring:65536  native   yes   399.9 kB  604.3 kB         0 B     291.4 us   266.6 us  3.75e+03  gpu0.sm busy 100 %
resident    native   no           -         -    643.6 kB            -          -         -  resident needs 643.6 kB of gpu0, whose budget is 400.0 kB

chosen: ring:65536
  gpu0  315.9 kB  weights
         8.19 kB  kv
        10.24 kB  activations
            64 B  tokens
        65.54 kB  ring
            64 B  free
        400.0 kB  budget
  host  309.2 kB  host_weights
            32 B  prompt
            64 B  tokens_out
            32 B  model.rotary_emb.inv_freq@host
        294.9 kB  staging
         3.40 MB  free
         4.00 MB  budget
  packing of gpu0 activations: 10.24 kB, live-bytes bound 10.24 kB, gap 0.0 %

what would help
- +243.6 kB of gpu0 (643.6 kB in all) and all of it is resident.
)");
}

TEST(PlanReport, OfACardWithRoomForEverythingNeedsNoHelp) {
  EXPECT_EQ(TableAndBelow(2'000'000, 4'000'000),
            R"(strategy  runtime  fits      gpu0      host  needs gpu0  first token  per token  tokens/s  limited by
resident  native   yes   643.6 kB  524.4 kB    643.6 kB     219.2 us   210.5 us  4.75e+03  gpu0.sm busy 100 %
ring      native   yes   643.6 kB  524.4 kB         0 B     219.2 us   210.5 us  4.75e+03  gpu0.sm busy 100 %

chosen: resident
  gpu0  625.2 kB  weights
         8.19 kB  kv
        10.24 kB  activations
            64 B  tokens
         1.36 MB  free
         2.00 MB  budget
  host      32 B  prompt
            64 B  tokens_out
            32 B  model.rotary_emb.inv_freq@host
        524.3 kB  staging
         3.48 MB  free
         4.00 MB  budget
  packing of gpu0 activations: 10.24 kB, live-bytes bound 10.24 kB, gap 0.0 %
)");
}

TEST(PlanReport, OfAFormatThatDoesNotFitSaysWhatTheChosenRingWouldKeep) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(400'000);
  const PlanReport report = Report(test);
  ASSERT_EQ(report.chosen, "ring:65536");
  ASSERT_EQ(report.formats.size(), 12u);
  const FormatLine& as_it_is = report.formats.front();
  EXPECT_EQ(as_it_is.weights, Bytes(623'744));
  EXPECT_FALSE(as_it_is.fits);
  // The plan keeps whole groups of rows, and its embedding table leaves first: 315.9 kB.
  ASSERT_TRUE(as_it_is.resident.has_value());
  EXPECT_NEAR(static_cast<double>(as_it_is.resident->value()), 315'904, 3'000);
  EXPECT_TRUE(report.formats.back().fits);
  EXPECT_FALSE(report.formats.back().resident.has_value());
}

TEST(PlanReport, OfSeveralGpusAddsTheirBudgetsUp) {
  TestTask test = Small();
  test.machine = *BuildMachine({.gpus = {"2xhost-device:400KB"}, .cpu = "10MB"}, {});
  const PlanReport two = Report(test);
  EXPECT_TRUE(two.formats.front().fits) << two.formats.front().needed.value();
  test.machine = *BuildMachine({.gpus = {"2xhost-device:200KB"}, .cpu = "10MB"}, {});
  const PlanReport small = Report(test);
  EXPECT_FALSE(small.formats.front().fits);
  EXPECT_EQ(small.would_help.back(), "2 more like gpu1: their budgets added up hold all of it.");
}

TEST(PlanReport, OfACardThatIsTooSmallNamesTheSmallestBudget) {
  EXPECT_EQ(TableAndBelow(50'000, 600'000),
            R"(strategy  runtime  fits  needs gpu0  first token  per token  tokens/s  limited by
resident  native   no      643.6 kB            -          -         -  resident needs 643.6 kB of gpu0, whose budget is 50.00 kB
ring      native   no      86.59 kB            -          -         -  ring needs 86.59 kB of gpu0 with nothing but the ring, caches, activations and norms there; its budget is 50.00 kB

nothing fits; the smallest budget that would do is 86.59 kB (86,592 bytes) of gpu0, with ring

what would help
- +36.59 kB of gpu0 (86.59 kB in all) and 'ring' fits.
- +43.46 kB of host (643.5 kB in all) and 'ring' fits.
- +593.6 kB of gpu0 (643.6 kB in all) and all of it is resident.
)");
}

// Even with all that may stay on the disk there.
TEST(PlanReport, OfAHostThatIsTooSmallNamesTheWayOut) {
  EXPECT_EQ(TableAndBelow(400'000, 100'000),
            R"(strategy  runtime  fits  needs gpu0  first token  per token  tokens/s  limited by
resident  native   no             -            -          -         -  resident needs 643.6 kB of gpu0, whose budget is 400.0 kB
ring      native   no             -            -          -         -  ring:65536 needs 196.7 kB of host (65.54 kB for weights), whose budget is 100.0 kB

nothing fits; the smallest budget that would do is 196.7 kB (196,736 bytes) of host, with ring

what would help
- +96.74 kB of host (196.7 kB in all) and 'ring' fits.
)");
}

TEST(PlanReport, TheHeadingIsTheModelTheRequestAndTheMachine) {
  const std::string text = PlanText(Report(Small()), false);
  EXPECT_EQ(text.substr(0, text.find("\n\n")),
            "tiny (llama): 311,872 parameters, 4 layers, 623.7 kB of bf16 weights, 512 B of KV cache a token\n"
            "request: batch 1, prompt 8, 8 new tokens\n"
            "machine: a small card");
}

TEST(PlanReport, OfATorchStrategyShowsWhatTorchHoldsAtThePeakInPlaceOfArenas) {
  const TestTask test = Small();
  const PlanReport report = ReportOf(test.task(), Rank({TorchResidentStrategy()}, test.task()));
  ASSERT_EQ(report.contents.size(), 2u);
  Bytes sum;
  std::vector<std::string> kinds;
  for (const PoolContents::Part& part : report.contents[0].parts) {
    sum += part.bytes;
    kinds.push_back(part.what);
  }
  EXPECT_EQ(sum, report.contents[0].budget);
  EXPECT_EQ(kinds.back(), "free");
  for (const char* kind : {"weights", "activations", "cached or lost by the allocator"}) {
    EXPECT_NE(std::find(kinds.begin(), kinds.end(), kind), kinds.end()) << kind;
  }
  EXPECT_TRUE(report.packing.empty());
  EXPECT_NE(PlanText(report, false).find("chosen: torch-resident, which holds at its peak\n"), std::string::npos);
}

TEST(PlanReport, TimesOfAMachineWithIntervalsHaveLowAndHigh) {
  TestTask test = Small();
  test.machine.dispatch.spread = {0.5, 2};
  test.machine.resources[test.machine.FindResource("gpu0.sm")].rate_spread = {0.5, 2};
  const PlanReport report = Report(test);
  const StrategyLine& best = report.strategies.front();
  ASSERT_TRUE(best.per_token_low && best.per_token_high);
  EXPECT_LT(*best.per_token_low, *best.per_token);
  EXPECT_LT(*best.per_token, *best.per_token_high);
  EXPECT_LT(*best.first_token_low, *best.first_token_high);
  EXPECT_FALSE(Report(Small()).strategies.front().per_token_low.has_value());
}

TEST(PlanReport, OfFp32WeightsSaysWhatBf16WouldTake) {
  TestTask test = Small();
  for (Tensor& t : test.model.tensors) {
    if (!t.buffer) t.dtype = DType::kF32;
  }
  const PlanReport report = Report(test);
  ASSERT_EQ(report.would_help.size(), 1u);
  EXPECT_EQ(report.would_help[0], "--dtype bf16: 623.7 kB of weights instead of 1.25 MB, at bf16's precision.");
}

}  // namespace
}  // namespace stowage

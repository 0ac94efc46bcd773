#include "tools/plan_report.h"

#include <gtest/gtest.h>

#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"
#include "reports/plan_text.h"

namespace stowage {
namespace {

// Half a megabyte of weights on a card without reservations and a host that says nothing about itself.
TestTask Small() {
  TestTask out{
      TinyLlamaModel({.layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 16, .intermediate = 256, .vocab = 512}),
      TinyMachine(),
      {}};
  out.machine.name = "a small card";
  out.machine.reservations.clear();
  out.machine.assumptions.clear();
  out.request = {.prompt_tokens = 8, .new_tokens = 8};
  return out;
}

PlanReport Report(const TestTask& test) {
  return ReportOf(test.task(), Rank({ResidentStrategy(), RingStrategy()}, test.task()));
}

TEST(PlanReport, OfASmallModelOnASmallCardReadsLikeThis) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(400'000);
  test.Budget("host") = Bytes(4'000'000);
  EXPECT_EQ(PlanText(Report(test), false),
            R"(tiny (llama): 311,872 parameters, 4 layers, 623.7 kB of bf16 weights, 512 B of KV cache a token
request: batch 1, prompt 8, 8 new tokens
machine: a small card

strategy    runtime  fits      gpu0      host  first token  per token  tokens/s  limited by
ring:65536  native   yes   399.9 kB  604.3 kB     291.4 us   266.6 us  3.75e+03  gpu0.sm busy 100 %
resident    native   no           -         -            -          -         -  resident needs 643.6 kB of gpu0, whose budget is 400.0 kB

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
- 243.6 kB more of gpu0 (643.6 kB in all) and 'resident' fits.
)");
}

TEST(PlanReport, OfACardWithRoomForEverythingNeedsNoHelp) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(2'000'000);
  test.Budget("host") = Bytes(4'000'000);
  EXPECT_EQ(PlanText(Report(test), false),
            R"(tiny (llama): 311,872 parameters, 4 layers, 623.7 kB of bf16 weights, 512 B of KV cache a token
request: batch 1, prompt 8, 8 new tokens
machine: a small card

strategy  runtime  fits      gpu0      host  first token  per token  tokens/s  limited by
resident  native   yes   643.6 kB  524.4 kB     219.2 us   210.5 us  4.75e+03  gpu0.sm busy 100 %
ring      native   yes   643.6 kB  524.4 kB     219.2 us   210.5 us  4.75e+03  gpu0.sm busy 100 %

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

TEST(PlanReport, OfACardThatIsTooSmallNamesTheSmallestBudget) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(50'000);
  test.Budget("host") = Bytes(4'000'000);
  EXPECT_EQ(PlanText(Report(test), false),
            R"(tiny (llama): 311,872 parameters, 4 layers, 623.7 kB of bf16 weights, 512 B of KV cache a token
request: batch 1, prompt 8, 8 new tokens
machine: a small card

strategy  runtime  fits  first token  per token  tokens/s  limited by
resident  native   no              -          -         -  resident needs 643.6 kB of gpu0, whose budget is 50.00 kB
ring      native   no              -          -         -  ring needs 86.59 kB of gpu0 with nothing but the ring, caches, activations and norms there; its budget is 50.00 kB

nothing fits; the smallest budget that would do is 86.59 kB (86,592 bytes) of gpu0, with ring

what would help
- 36.59 kB more of gpu0 (86.59 kB in all) and 'ring' fits.
- 593.6 kB more of gpu0 (643.6 kB in all) and 'resident' fits.
)");
}

TEST(PlanReport, OfAHostThatIsTooSmallNamesBothWaysOut) {
  TestTask test = Small();
  test.Budget("gpu0") = Bytes(400'000);
  test.Budget("host") = Bytes(200'000);
  EXPECT_EQ(PlanText(Report(test), false),
            R"(tiny (llama): 311,872 parameters, 4 layers, 623.7 kB of bf16 weights, 512 B of KV cache a token
request: batch 1, prompt 8, 8 new tokens
machine: a small card

strategy  runtime  fits  first token  per token  tokens/s  limited by
resident  native   no              -          -         -  resident needs 643.6 kB of gpu0, whose budget is 400.0 kB
ring      native   no              -          -         -  ring:65536 needs 383.1 kB of host (309.2 kB for weights), whose budget is 200.0 kB

nothing fits; the smallest budget that would do is 578.1 kB (578,112 bytes) of gpu0, with ring

what would help
- 178.1 kB more of gpu0 (578.1 kB in all) and 'ring' fits.
- 183.1 kB more of host (383.1 kB in all) and 'ring' fits.
- 243.6 kB more of gpu0 (643.6 kB in all) and 'resident' fits.
)");
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

#include <gtest/gtest.h>

#include "exec/cuda/fake/fake_cuda.h"
#include "exec/kernel_args.h"
#include "exec/testing/tiny_llama.h"

namespace stowage {
namespace {

// Small enough that thousands of runs take seconds.
TinyLlama Small() {
  return {.layers = 2,
          .hidden = 16,
          .intermediate = 24,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 8,
          .vocab = 32,
          .file_dtype = DType::kBF16,
          .dtype = DType::kF32,
          .prompt = {3, 1, 4},
          .new_tokens = 4};
}

struct Case {
  const char* name;
  TinyLowering lowering;
};
std::vector<Case> Cases() {
  return {{"resident", {.chunk_bytes = 512}},
          {"ring 1536", {.ring_bytes = 1536, .chunk_bytes = 512}},
          {"ring 4096", {.ring_bytes = 4096, .chunk_bytes = 512}},
          {"ring 1024, tiles of 5 rows", {.ring_bytes = 1024, .tile_rows = 5, .chunk_bytes = 512}}};
}

// Empty: the run gives exactly `expected`. Otherwise what gave it away.
std::string WhatIsWrong(const TinyLlama& llama, const Schedule& schedule, const FakePolicy& policy,
                        const kernels::KernelTable& kernels, const TinyAnswer& expected) {
  auto devices = MakeFakeDevices(schedule, policy, kernels);
  if (!devices) return devices.error().message;
  const auto run = Execute(schedule, *devices, {InputsOf(llama)}, {.captures = {{"prefill", "logits"}}});
  if (!run) return run.error().message;
  if (run->captured.at("logits") != expected.logits) return "other logits";
  if (ValuesOf<std::int32_t>(run->outputs.at("tokens")) != expected.tokens) return "other tokens";
  return "";
}

TEST(FakeCuda, GivesThePlainAnswerInEveryOrderTheScheduleAllows) {
  const TinyLlama llama = Small();
  const std::string file = WriteWeights(llama, "orders");
  const TinyAnswer expected = RunPlainly(llama, file, ReferenceKernels());
  for (const Case& c : Cases()) {
    const Schedule schedule = LowerTiny(llama, c.lowering, file);
    for (const FakePolicy& policy : AllPolicies(2)) {
      ASSERT_EQ(WhatIsWrong(llama, schedule, policy, ReferenceKernels(), expected), "")
          << c.name << ": " << Describe(policy);
    }
  }
}

}  // namespace
}  // namespace stowage

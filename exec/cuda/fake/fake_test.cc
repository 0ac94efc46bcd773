#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "exec/cuda/fake/fake_cuda.h"
#include "exec/kernel_args.h"
#include "exec/testing/tiny_llama.h"
#include "planner/schedule/check.h"

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

// Empty: the run gives exactly `expected`. Otherwise what gave it away. With `stop` the issuer stops after the prefill
// to look at the prompt's logits, as a run with --logits does: that hides what is missing between the phases, and shows
// what a second pass over the same ring would cover up.
std::string WhatIsWrong(const TinyLlama& llama, const Schedule& schedule, const FakePolicy& policy,
                        const kernels::KernelTable& kernels, const TinyAnswer& expected, bool stop) {
  auto devices = MakeFakeDevices(schedule, policy, kernels);
  if (!devices) return devices.error().message;
  ExecuteOptions options{.outputs = {"logits"}};
  if (stop) options.captures = {{"prefill", "logits"}};
  const auto run = Execute(schedule, *devices, {InputsOf(llama)}, options);
  if (!run) return run.error().message;
  if (stop && run->captured.at("logits") != expected.logits) return "other logits";
  if (run->outputs.at("logits") != expected.last_logits) return "other logits";
  if (ValuesOf<std::int32_t>(run->outputs.at("tokens")) != expected.tokens) return "other tokens";
  return "";
}

// The schedule without one of its orders: predecessor `after` of a step, or the wait that the step is.
Schedule Without(const Schedule& schedule, StepId step, int after) {
  Schedule out = schedule;
  Step& mutated = out.steps[step];
  if (after >= 0) {
    mutated.after.erase(mutated.after.begin() + after);
  } else {
    mutated.target = {0};  // of the first allocation: always reached
  }
  return out;
}

std::vector<FakePolicy> TwiceEach(const std::vector<FakePolicy>& policies) {
  std::vector<FakePolicy> out;
  for (const FakePolicy& policy : policies) out.insert(out.end(), 2, policy);
  return out;
}

struct Removed {
  int needed = 0;
  int implied = 0;  // CheckSchedule says: another path implies it
  std::map<std::string, int> caught;
  std::vector<std::string> missed;
};

Removed RemoveEach(const TinyLlama& llama, const Schedule& schedule, const TinyAnswer& expected) {
  Removed out;
  const std::vector<FakePolicy> policies = TwiceEach(AllPolicies(10));
  for (StepId step = 0; step < static_cast<StepId>(schedule.steps.size()); ++step) {
    const bool wait = schedule.steps[step].kind == StepKind::kWait;
    const int count = static_cast<int>(schedule.steps[step].after.size());
    for (int after = wait ? -1 : 0; after < (wait ? 0 : count); ++after) {
      const Schedule mutated = Without(schedule, step, after);
      if (FindProblems(mutated, {.max_problems = 1}).empty()) {
        ++out.implied;
        continue;
      }
      ++out.needed;
      std::string how;
      for (std::size_t i = 0; i < policies.size() && how.empty(); ++i) {
        how = WhatIsWrong(llama, mutated, policies[i], ReferenceKernels(), expected, i % 2 == 0);
        if (how.find("a CUDA stream cannot wait") != std::string::npos) how = "refused by the CUDA device";
      }
      if (how.empty()) {
        const StepRef ref = wait ? schedule.steps[step].target : schedule.steps[step].after[after];
        out.missed.push_back(fmt::format("{} {} after {} {}, back {}", step, schedule.StepName(step), ref.step,
                                         schedule.StepName(ref.step), ref.back));
        out.missed.push_back(FindProblems(mutated)[0].text);
      } else {
        ++out.caught[how];
      }
    }
  }
  return out;
}

TEST(FakeCuda, CatchesEveryNeededDependencyThatIsRemoved) {
  TinyLlama llama = Small();
  llama.layers = 1;
  llama.new_tokens = 3;
  const std::string file = WriteWeights(llama, "removed");
  const TinyAnswer expected = RunPlainly(llama, file, ReferenceKernels());
  for (const Case& c : Cases()) {
    const Schedule schedule = LowerTiny(llama, c.lowering, file);
    ASSERT_TRUE(CheckSchedule(schedule)) << CheckSchedule(schedule).error().message;
    const Removed removed = RemoveEach(llama, schedule, expected);
    std::string line = fmt::format("{}: {} needed, {} implied by others", c.name, removed.needed, removed.implied);
    for (const auto& [how, count] : removed.caught) line += fmt::format("; {}: {}", how, count);
    std::puts(line.c_str());
    EXPECT_GT(removed.needed, 0) << c.name;
    EXPECT_EQ(removed.missed, std::vector<std::string>{}) << c.name;
  }
}

TEST(FakeCuda, GivesThePlainAnswerInEveryOrderTheScheduleAllows) {
  const TinyLlama llama = Small();
  const std::string file = WriteWeights(llama, "orders");
  const TinyAnswer expected = RunPlainly(llama, file, ReferenceKernels());
  for (const Case& c : Cases()) {
    const Schedule schedule = LowerTiny(llama, c.lowering, file);
    for (const FakePolicy& policy : AllPolicies(2)) {
      ASSERT_EQ(WhatIsWrong(llama, schedule, policy, ReferenceKernels(), expected, policy.early % 2 == 0), "")
          << c.name << ": " << Describe(policy);
    }
  }
}

}  // namespace
}  // namespace stowage

// Chains over several GPUs: a pipeline on one screen, every family against the checkers, what is refused.
#include "planner/strategy/native/chain.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>

#include "planner/families/families.h"
#include "planner/families/testing/tiny_models.h"
#include "planner/formats/file.h"
#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/strategy/native/pipeline.h"
#include "planner/strategy/native/proposal.h"
#include "planner/strategy/native/rings.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

constexpr const char* kGolden = "planner/strategy/native/goldens/pipeline.txt";

struct Case {
  Model model;
  Machine machine;
  Request request;

  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
};

Case On(Model model, const std::string& gpus, Request request) {
  return {std::move(model), *BuildMachine({.gpus = {gpus}, .cpu = "1GB", .disk = "1GB"}, {}), request};
}

// Blocks in equal shares to the GPUs; what comes before them to the first one, what comes after to the last one.
ChainProposal InShares(const Model& model, std::int16_t gpus, std::int64_t micro_batches) {
  ChainProposal out{.strategy = "chain", .micro_batches = micro_batches};
  std::vector<ModuleId> blocks;
  for (std::size_t m = 0; m < model.modules.size(); ++m) {
    if (model.BlockOf(static_cast<ModuleId>(m)) == static_cast<ModuleId>(m)) blocks.push_back(static_cast<ModuleId>(m));
  }
  for (const Tensor& t : model.tensors) {
    const ModuleId block = model.BlockOf(t.module);
    std::size_t share = t.module > blocks.back() ? blocks.size() - 1 : 0;
    for (std::size_t b = 0; b < blocks.size(); ++b) share = blocks[b] == block ? b : share;
    const std::int16_t gpu = static_cast<std::int16_t>(share * static_cast<std::size_t>(gpus) / blocks.size());
    out.gpu.push_back(t.tied_to == kNoId ? gpu : out.gpu[t.tied_to]);
  }
  return out;
}

std::string Judge(const Lowered& lowered) {
  const Status plan = CheckPlan(lowered.plan), schedule = CheckSchedule(lowered.schedule);
  if (!plan.ok()) return plan.error().message;
  return schedule.ok() ? "" : schedule.error().message;
}

TEST(Chain, IsOnOneScreenWithTwoMicroBatchesOnTwoGpus) {
  const Case c = On(TinyLlamaModel({.layers = 2}), "2x100KB", {.batch = 2, .prompt_tokens = 2, .new_tokens = 3});
  const Result<Lowered> lowered = LowerChain(c.task(), InShares(c.model, 2, 2));
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(Judge(*lowered), "");
  const std::string text = Dump(lowered->schedule) + Dump(lowered->plan);
  const Result<std::string> golden = ReadTextFile(kGolden, 1 << 20);
  const bool same = golden && *golden == text;
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (!same && outputs != nullptr) {
    std::FILE* file = std::fopen((std::string(outputs) + "/pipeline.txt").c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  ASSERT_TRUE(golden) << golden.error().message;
  EXPECT_TRUE(same) << "the schedule differs from " << kGolden;
}

TEST(Chain, OfEveryFamilyHolds) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    for (const auto& [gpus, micro_batches] : {std::pair(1, 2), {2, 1}, {3, 2}, {2, 4}}) {
      const Case c =
          On(TinyModel(tiny), fmt::format("{}x20MB", gpus), {.batch = 4, .prompt_tokens = 6, .new_tokens = 5});
      if (!MakesTokens(c.model)) continue;
      const Result<Lowered> lowered =
          LowerChain(c.task(), InShares(c.model, static_cast<std::int16_t>(gpus), micro_batches));
      ASSERT_TRUE(lowered.ok()) << tiny.name << ": " << lowered.error().message;
      EXPECT_EQ(Judge(*lowered), "") << tiny.name << " on " << gpus << " GPUs, " << micro_batches << " micro-batches";
    }
  }
}

// Any rows of any matrices in host memory, tables too; slots and tiles as drawn.
Result<ChainProposal> WithRings(const PlanningTask& task, ChainProposal out, unsigned seed) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(n)); };
  for (const Tensor& t : task.model->tensors) out.resident_rows.push_back(RowsOf(t));
  for (const TensorId t : native->used) {
    std::int64_t& rows = out.resident_rows[t];
    const std::int64_t steps = rows / native->row_step[t];
    if (native->gathered[t] && below(2) == 0) rows = 0;
    if (native->multiplied[t] && below(2) == 0) rows = (below(2) == 0 ? 0 : below(steps + 1)) * native->row_step[t];
  }
  out.tile = Bytes(256 << below(5));
  for (std::size_t g = 0; g < task.machine->gpus.size(); ++g) {
    out.slots.push_back(static_cast<std::int32_t>(2 + below(4)));
  }
  return out;
}

TEST(Chain, OfEveryFamilyHoldsWithARingOnEachGpu) {
  unsigned seed = 0;
  for (const TinyConfig& tiny : TinyConfigs()) {
    for (const std::int16_t gpus : {std::int16_t{1}, std::int16_t{2}, std::int16_t{3}}) {
      const Case c =
          On(TinyModel(tiny), fmt::format("{}x20MB", gpus), {.batch = 2, .prompt_tokens = 6, .new_tokens = 5});
      if (!MakesTokens(c.model)) continue;
      const Result<ChainProposal> proposal = WithRings(c.task(), InShares(c.model, gpus, 1), ++seed);
      ASSERT_TRUE(proposal.ok()) << proposal.error().message;
      const Result<Lowered> lowered = LowerChain(c.task(), *proposal);
      ASSERT_TRUE(lowered.ok()) << tiny.name << ": " << lowered.error().message;
      EXPECT_EQ(Judge(*lowered), "") << tiny.name << " on " << gpus << " GPUs, seed " << seed;
    }
  }
}

TEST(Chain, KeepsATiedHeadBesideItsEmbedding) {
  const Case c = On(TinyLlamaModel({.layers = 3, .tied = true}), "3x100KB", {.prompt_tokens = 4, .new_tokens = 4});
  const Result<Lowered> lowered = LowerChain(c.task(), InShares(c.model, 3, 1));
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(Judge(*lowered), "");
  for (const TensorPlan& t : lowered->plan.tensors) {
    if (t.name == "lm_head.weight") {
      EXPECT_EQ(t.device, "gpu0");
    }
    if (t.name == "model.layers.2.mlp.up_proj.weight") {
      EXPECT_EQ(t.device, "gpu2");
    }
  }
}

TEST(Rings, OfEveryFamilyHoldAtAnyBudget) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    Case c = On(TinyModel(tiny), "3x20MB", {.prompt_tokens = 6, .new_tokens = 5});
    if (!MakesTokens(c.model)) continue;
    int lowered_ones = 0;
    for (int kilobytes = 2; kilobytes < 200; kilobytes += 1 + kilobytes / 4) {
      for (const char* pool : {"gpu0", "gpu1", "gpu2"}) {
        const Bytes budget(kilobytes * (pool[3] == '1' ? 2000 : 1000));
        c.machine.pools[c.machine.FindPool(pool)].budget = c.machine.Reserved(pool) + budget;
      }
      for (const std::string& parameters : RingsStrategy().candidates(c.task())) {
        const Result<Lowered> lowered = RingsStrategy().lower(c.task(), parameters);
        if (!lowered && lowered.error().code == ErrorCode::kInfeasible) continue;
        ASSERT_TRUE(lowered.ok()) << tiny.name << ": " << lowered.error().message;
        EXPECT_EQ(Judge(*lowered), "") << tiny.name << " " << parameters;
        ++lowered_ones;
      }
    }
    EXPECT_GT(lowered_ones, 0) << tiny.name;
  }
}

std::string WhyNot(const Result<Lowered>& lowered) { return lowered.ok() ? "it is lowered" : lowered.error().message; }

TEST(Pipeline, RefusesWhatItCannotCutOrHold) {
  Case c = On(TinyLlamaModel({.layers = 4}), "2x100KB", {.batch = 3, .prompt_tokens = 2, .new_tokens = 2});
  const Strategy pipeline = PipelineStrategy();
  EXPECT_EQ(WhyNot(pipeline.lower(c.task(), "2")), "pipeline:2: a batch of 3 cannot be cut into 2 equal micro-batches");
  EXPECT_EQ(WhyNot(pipeline.lower(c.task(), "x")), "pipeline:x: the number of micro-batches is 1 to 1024");
  EXPECT_EQ(WhyNot(pipeline.lower(c.task(), "3")), "it is lowered");
  EXPECT_EQ(WhyNot(pipeline.lower(c.task(), "")), "it is lowered");
  c.machine = *BuildMachine({.gpus = {"100KB"}, .cpu = "1GB", .disk = "1GB"}, {});
  EXPECT_EQ(WhyNot(pipeline.lower(c.task(), "")), "pipeline needs several GPUs: one has no stages");
}

}  // namespace
}  // namespace stowage

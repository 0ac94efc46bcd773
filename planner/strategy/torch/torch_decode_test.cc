// Decode phases whose passes are not all alike: growing masks, sliding windows that fill up. And models without one.
// Each pass against a program realized for it alone.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/machine/build_machine.h"
#include "planner/realize/torch.h"
#include "planner/schedule/check.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

constexpr Bytes kWorkspace(8'519'680);                  // cuBLAS on a T4
constexpr std::int64_t kPosition = 2 * 2 * 2 * 16 * 2;  // batch, keys and values, heads, head_dim, bf16

Model Tiny(std::string_view family, std::string_view more) {
  const std::string json = fmt::format(
      R"({{"model_type": "{}", "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "head_dim": 16,
          "num_key_value_heads": 2, "vocab_size": 100, "intermediate_size": 96, "dtype": "bfloat16", {}}})",
      family, more);
  Result<Model> model = BuildModel(*HfConfig::Parse(json, "config.json"), "tiny");
  EXPECT_TRUE(model.ok()) << model.error().message;
  return *std::move(model);
}

// Live bytes of gpu0 at the peak of each decode pass; a pass ends with the choice of a token.
std::vector<Bytes> DecodePeaks(const Schedule& s) {
  std::vector<Bytes> peaks;
  std::vector<std::int64_t> size(s.buffers.size(), 0);
  Bytes live, peak;
  bool drops_logits = false;
  const auto run = [&](const Section& section, std::int64_t iteration, bool decode) {
    for (StepId id = section.begin; id < section.end; ++id) {
      const Step& step = s.steps[id];
      if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) continue;
      const Buffer& buffer = s.buffers[step.buffer];
      if (s.pools[buffer.pool].allocator != Allocator::kTorchCaching) continue;
      const bool chosen = step.kind == StepKind::kAllocate && buffer.name == "next_ids";
      if (chosen && decode) peaks.push_back(peak);
      if (step.kind == StepKind::kAllocate) size[step.buffer] = buffer.bytes.at(iteration).value();
      live += Bytes(step.kind == StepKind::kAllocate ? size[step.buffer] : -size[step.buffer]);
      peak = drops_logits ? live : std::max(peak, live);
      drops_logits = chosen;
    }
  };
  for (const Phase& phase : s.phases) {
    const bool decode = phase.name == "decode";
    run(phase.prologue, 0, decode);
    for (std::int64_t i = 0; i < phase.iterations; ++i) run(phase.body, i, decode);
  }
  return peaks;
}

// Live bytes at the peak of a program that finds `stored` positions in the cache of each sliding layer.
Bytes PeakAlone(const TorchProgram& program, const Model& model, std::int64_t stored) {
  std::vector<Bytes> size;
  for (const TorchStorage& s : program.storages) size.push_back(s.bytes.at(0));
  Bytes live;
  for (std::size_t i = 0; i < program.past.size(); ++i) {
    if (!model.shape.windows.empty() && model.shape.windows[i / 2] > 0)
      size[program.past[i]] = Bytes(stored * kPosition / 2);
    live += size[program.past[i]];
  }
  Bytes peak = live;
  for (const TorchEvent& event : program.events) {
    if (event.kind == TorchEventKind::kAllocate) live += size[event.storage];
    if (event.kind == TorchEventKind::kRelease) live -= size[event.storage];
    peak = std::max(peak, live);
  }
  return peak;
}

struct Row {
  std::string family, more;
  std::int64_t prompt;
};

const std::vector<Row> kRows = {
    {"opt", R"("ffn_dim": 96, "max_position_embeddings": 64, "word_embed_proj_dim": 64)", 4},
    {"mistral", R"("sliding_window": 12)", 4},   // fills up on the way
    {"mistral", R"("sliding_window": 12)", 11},  // at the first pass
    {"mistral", R"("sliding_window": 12)", 20},  // in the prompt
    {"mistral", R"("sliding_window": 12)", 10},  // at the second pass
    {"mistral", R"("sliding_window": 100)", 4},  // never
    {"gemma2", R"("sliding_window": 12)", 4},    // of every other layer
    {"t5", R"("architectures": ["T5ForConditionalGeneration"], "d_ff": 96)", 4},
    {"whisper", R"("architectures": ["WhisperForConditionalGeneration"], "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
        "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2, "max_source_positions": 15,
        "max_target_positions": 64)",
     4},
};

// Of the decode passes of a sound schedule; empty when there is none.
std::vector<Bytes> ResidentPeaks(const PlanningTask& task) {
  const Result<Lowered> lowered = TorchResidentStrategy().lower(task, "");
  EXPECT_TRUE(lowered.ok()) << lowered.error().message;
  if (!lowered) return {};
  const Status status = CheckSchedule(lowered->schedule);
  EXPECT_TRUE(status.ok()) << status.error().message;
  return DecodePeaks(lowered->schedule);
}

Bytes AlwaysThere(const Model& model) {
  Bytes bytes = kWorkspace;
  for (const Tensor& t : model.tensors) bytes += t.tied_to == kNoId ? t.bytes() : Bytes(0);
  return bytes;
}

TEST(TorchDecodeTest, EachPassPeaksWhereItsOwnProgramDoes) {
  const Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  for (const Row& row : kRows) {
    const Model model = Tiny(row.family, row.more);
    const PlanningTask task{
        .model = &model, .machine = &machine, .request = {.batch = 2, .prompt_tokens = row.prompt, .new_tokens = 18}};
    const std::vector<Bytes> peaks = ResidentPeaks(task);
    ASSERT_EQ(peaks.size(), 17u) << row.family;
    Bytes fixed = AlwaysThere(model);
    const std::int64_t window = TurnOf(model, {}).value_or(1'000'000) + 1;
    const auto sliding =
        std::count_if(model.shape.windows.begin(), model.shape.windows.end(), [](auto w) { return w > 0; });
    fixed += Bytes(8 * sliding);  // each counts its positions
    for (std::int64_t p = 0; p < 17; ++p) {
      Pass pass = DecodeOf(task.request);
      pass.past += p;
      const Bytes expected =
          fixed + PeakAlone(*RealizeTorch(model, pass), model, p == 0 ? row.prompt : std::min(pass.past, window));
      const Bytes peak = peaks[static_cast<std::size_t>(p)];
      const std::string what = fmt::format("{} {}, prompt {}, pass {}", row.family, row.more, row.prompt, p);
      // Before a body its growing buffers have two positions too many (torch_lowering.h).
      const bool before_a_body = p < 2 || (pass.past >= window - 1 && pass.past <= window);
      if (before_a_body) {
        EXPECT_GE(peak, expected) << what;
        EXPECT_LE(peak, expected + Bytes(2 * model.shape.layers * 2 * kPosition)) << what;
      } else {
        EXPECT_EQ(peak, expected) << what;
      }
    }
  }
}

TEST(TorchDecodeTest, OverAStaticCacheEachPassPeaksWhereItsOwnProgramDoes) {
  const Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  for (const Row& row : kRows) {
    const Model model = Tiny(row.family, row.more);
    if (IsEncoderDecoder(model)) continue;  // refused
    const PlanningTask task{
        .model = &model,
        .machine = &machine,
        .request = {.batch = 2, .prompt_tokens = row.prompt, .new_tokens = 18, .kv = KvCache::kStatic}};
    const std::vector<Bytes> peaks = ResidentPeaks(task);
    ASSERT_EQ(peaks.size(), 17u) << row.family;
    const Bytes fixed = AlwaysThere(model);
    for (std::int64_t p = 0; p < 17; ++p) {
      Pass pass = DecodeOf(task.request);
      pass.past += p;
      EXPECT_EQ(peaks[static_cast<std::size_t>(p)], fixed + RecorderForm(*RealizeTorch(model, pass), model).peak_live)
          << fmt::format("{} {}, prompt {}, pass {}", row.family, row.more, row.prompt, p);
    }
  }
}

// A model is lowered, or refused for a reason; never is there an invariant that does not hold.
TEST(TorchDecodeTest, EveryModelOfTheZooIsLoweredOrRefused) {
  const Machine machine = *BuildMachine({.gpus = {"2TB"}, .cpu = "4TB"}, {});
  int lowered = 0;
  for (const ZooEntry& entry : ZooEntries()) {
    const Model model = *ZooModel(entry.name);
    const std::int64_t tokens = MakesTokens(model) ? 8 : 0;
    for (const KvCache kv : {KvCache::kDynamic, KvCache::kStatic}) {
      const PlanningTask task{
          .model = &model, .machine = &machine, .request = {.prompt_tokens = 16, .new_tokens = tokens, .kv = kv}};
      const Result<Lowered> result = TorchResidentStrategy().lower(task, "");
      lowered += result.ok();
      if (!result) {
        EXPECT_THAT(result.error().message,
                    testing::AnyOf(testing::HasSubstr("packed"), testing::HasSubstr("not realized"),
                                   testing::HasSubstr("class fails on it")))
            << entry.name;
      }
    }
  }
  EXPECT_GE(lowered, 80);
}

TEST(TorchDecodeTest, AModelThatMakesNoTokensRunsOnceAndLeavesItsWeights) {
  const Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  const Model model = Tiny("bert", R"("max_position_embeddings": 64)");
  const PlanningTask task{
      .model = &model, .machine = &machine, .request = {.batch = 2, .prompt_tokens = 9, .new_tokens = 0}};
  for (const Strategy& strategy : {TorchResidentStrategy(), SequentialOffloadStrategy()}) {
    const Result<Lowered> lowered = strategy.lower(task, "");
    ASSERT_TRUE(lowered.ok()) << lowered.error().message;
    const Schedule& s = lowered->schedule;
    const Status status = CheckSchedule(s);
    EXPECT_TRUE(status.ok()) << status.error().message;
    ASSERT_EQ(s.phases.size(), 2u);
    std::vector<int> live(s.buffers.size(), 0);
    for (const Step& step : s.steps) {
      if (step.kind == StepKind::kAllocate) ++live[step.buffer];
      if (step.kind == StepKind::kFree) --live[step.buffer];
    }
    for (std::size_t b = 0; b < live.size(); ++b) {
      const bool stays = s.buffers[b].kind == BufferKind::kWeights || s.buffers[b].kind == BufferKind::kWorkspace;
      if (!stays && s.pools[s.buffers[b].pool].allocator == Allocator::kTorchCaching) {
        EXPECT_EQ(live[b], 0) << strategy.name << " keeps " << s.buffers[b].name;
      }
    }
  }
}

}  // namespace
}  // namespace stowage

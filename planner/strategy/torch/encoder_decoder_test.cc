// T5 with its decoder and whisper: what the encoder made is handed on from pass to pass, in every strategy. The events
// inside a pass: torch_traces_test and device_map_traces_test.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/strategy/torch/device_map_strategy.h"
#include "planner/strategy/torch/group_offload.h"
#include "planner/strategy/torch/model_offload.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"

namespace stowage {
namespace {

constexpr std::int64_t kPrompt = 5, kLayers = 3;

Model T5(std::string_view more = "") {
  const std::string json = fmt::format(
      R"({{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "num_layers": 2,
          "num_decoder_layers": {}, "d_model": 64, "num_heads": 4, "d_kv": 16, "d_ff": 96, "vocab_size": 100{}}})",
      kLayers, more);
  Result<Model> model = BuildModel(*HfConfig::Parse(json, "config.json"), "t5");
  EXPECT_TRUE(model.ok()) << model.error().message;
  return *std::move(model);
}

constexpr std::int64_t kFrames = 14;  // of whisper's encoder, half as many as of its input

Model Whisper() {
  const std::string json = fmt::format(
      R"({{"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "encoder_layers": 2,
          "decoder_layers": {}, "d_model": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
          "encoder_ffn_dim": 96, "decoder_ffn_dim": 80, "vocab_size": 100, "num_mel_bins": 10,
          "max_source_positions": {}, "max_target_positions": 64}})",
      kLayers, kFrames);
  Result<Model> model = BuildModel(*HfConfig::Parse(json, "config.json"), "whisper");
  EXPECT_TRUE(model.ok()) << model.error().message;
  return *std::move(model);
}

struct Case {
  Model model = T5();
  Machine machine = *BuildMachine({.gpus = {"2xt4"}, .cpu = "30GB", .disk = "100GB"}, {});

  Result<Lowered> Lower(const Strategy& strategy, const std::string& parameters, std::int64_t new_tokens,
                        std::int64_t last = 0) const {
    const PlanningTask task{.model = &model,
                            .machine = &machine,
                            .request = {.batch = 2, .prompt_tokens = kPrompt, .new_tokens = new_tokens},
                            .last_decode_passes = last};
    return strategy.lower(task, parameters);
  }
};

// The stack's dropout is on the other GPU than the first block; the last block is off the GPUs.
constexpr const char* kApart =
    R"({"shared": 0, "encoder": 0, "decoder.embed_tokens": 0, "lm_head": 0, "decoder.block.0": 0, "decoder.block.1": 1,
        "decoder.block.2": "cpu", "decoder.final_layer_norm": "disk", "decoder.dropout": 1})";

constexpr const char* kWhisperApart =
    R"({"model.encoder": 0, "model.decoder.embed_tokens": 0, "proj_out": 0, "model.decoder.embed_positions": 0,
        "model.decoder.layers.0": 0, "model.decoder.layers.1": 1, "model.decoder.layers.2": "cpu",
        "model.decoder.layer_norm": "disk"})";

std::vector<std::pair<Strategy, std::string>> Strategies(const char* apart) {
  return {{TorchResidentStrategy(), ""},    {SequentialOffloadStrategy(), ""}, {ModelOffloadStrategy(), ""},
          {GroupOffloadStrategy(), "leaf"}, {DeviceMapStrategy(), "auto"},     {DeviceMapStrategy(), apart}};
}

void ExpectSoundSchedules(const Case& c, const char* apart) {
  for (const auto& [strategy, parameters] : Strategies(apart)) {
    for (const std::int64_t new_tokens : {0, 1, 2, 6, 7}) {
      const std::string what = fmt::format("{}:{}, {} tokens", strategy.name, parameters, new_tokens);
      const Result<Lowered> lowered = c.Lower(strategy, parameters, new_tokens);
      ASSERT_TRUE(lowered.ok()) << what << ": " << lowered.error().message;
      const Status schedule = CheckSchedule(lowered->schedule);
      EXPECT_TRUE(schedule.ok()) << what << ": " << schedule.error().message;
      const Status plan = CheckPlan(lowered->plan);
      EXPECT_TRUE(plan.ok()) << what << ": " << plan.error().message;
    }
    EXPECT_TRUE(c.Lower(strategy, parameters, 9, /*last=*/3).ok()) << strategy.name;
  }
}

TEST(EncoderDecoder, EveryStrategyMakesASoundScheduleWhateverTheNumberOfPasses) {
  ExpectSoundSchedules(Case(), kApart);
  ExpectSoundSchedules({.model = Whisper()}, kWhisperApart);
}

// `source` positions of the encoder; the decoder starts with `start`.
void ExpectCrossedCaches(const Case& c, std::int64_t source, std::int64_t start) {
  constexpr std::int64_t kPosition = 2 * 4 * 16 * 4;  // batch, heads, head_dim, fp32
  const Result<Lowered> lowered = c.Lower(TorchResidentStrategy(), "", 4);
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  const Schedule& s = lowered->schedule;
  std::int64_t cross = 0, encoded = 0;
  std::vector<std::int64_t> own;
  for (const Step& step : s.steps) {
    if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) continue;
    const Buffer& buffer = s.buffers[step.buffer];
    if (buffer.kind != BufferKind::kKv) continue;
    const bool of_cross = buffer.name.find("cross_") != std::string::npos;
    if (step.kind == StepKind::kFree) {
      EXPECT_FALSE(of_cross) << buffer.name;
    } else if (of_cross) {
      EXPECT_EQ(buffer.bytes.base, source * kPosition);
      ++cross;
    } else if (buffer.name.ends_with("layers.0.keys")) {
      own.push_back(buffer.bytes.base);
    } else if (buffer.name.ends_with("encoded")) {
      ++encoded;
    }
  }
  EXPECT_EQ(cross, 2 * kLayers);
  EXPECT_EQ(encoded, 1);
  std::vector<std::int64_t> grows;
  for (std::int64_t p = 0; p < 4; ++p) grows.push_back((start + p) * kPosition);
  EXPECT_EQ(own, grows);
}

TEST(EncoderDecoder, CrossAttentionsCacheIsMadeOnceAndItsOwnGrowsByThePass) {
  ExpectCrossedCaches(Case(), kPrompt, 1);
  ExpectCrossedCaches({.model = Whisper()}, kFrames, kPrompt);
}

TEST(EncoderDecoder, CachesHoldThePromptOnceAndTheAnswerWithItsStartToken) {
  const Model model = T5();
  const Request request{.prompt_tokens = kPrompt, .new_tokens = 4};
  // Per layer: the prompt's, the start token's and three of the answer; the last is never fed back.
  EXPECT_EQ(CacheBytes(model, request.CachePositions()).value(), kLayers * (kPrompt + 1 + 3) * 2 * 4 * 16 * 4);
  // Whisper's prompt is its decoder's; the encoder's frames are as many for any sound.
  EXPECT_EQ(CacheBytes(Whisper(), request.CachePositions()).value(),
            kLayers * (kFrames + kPrompt + 3) * 2 * 4 * 16 * 4);
}

TEST(EncoderDecoder, GroupsThatComeInTheOrderOfTheFirstPassAreRefused) {
  const Result<Lowered> lowered = Case().Lower(GroupOffloadStrategy(), "leaf:stream", 4);
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(
      lowered.error().message,
      "model 't5': with a stream, groups come in the order of the first pass, in which the encoder runs; passes of "
      "the decoder alone are not realized (group-offload:leaf is)");
}

TEST(EncoderDecoder, WithoutACacheThatGrowsIsRefused) {
  const Case c;
  const auto refusal = [&](KvCache kv, const Model& model) {
    const PlanningTask task{
        .model = &model, .machine = &c.machine, .request = {.prompt_tokens = kPrompt, .new_tokens = 4, .kv = kv}};
    return TorchResidentStrategy().lower(task, "").error().message;
  };
  EXPECT_EQ(refusal(KvCache::kNone, Whisper()),
            "the torch runtime of model 'whisper': an encoder-decoder without a cache (--kv none) is not realized");
  EXPECT_EQ(refusal(KvCache::kNone, c.model),
            "the torch runtime of model 't5': an encoder-decoder without a cache (--kv none) is not realized");
  EXPECT_EQ(refusal(KvCache::kStatic, c.model),
            "the torch runtime of model 't5': an encoder-decoder with a static cache is not realized");
}

}  // namespace
}  // namespace stowage

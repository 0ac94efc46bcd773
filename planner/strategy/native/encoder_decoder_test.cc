// Random T5s and whispers, native: sound at any budget on one and two GPUs, caches to the byte, what passes through a
// ring and how often.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/strategy/native/device_map_ring.h"
#include "planner/strategy/native/layers.h"
#include "planner/strategy/native/pipeline.h"
#include "planner/strategy/native/proposal.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_proposal.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/native/rings.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  std::int64_t Between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random_() % static_cast<unsigned>(most - least + 1));
  }
  bool Coin() { return Between(0, 1) == 1; }

 private:
  std::mt19937 random_;
};

std::string T5Config(Draw& draw) {
  const char* name = draw.Coin() ? "t5" : "umt5";
  return fmt::format(
      R"({{"model_type": "{}", "architectures": ["{}ForConditionalGeneration"], "num_layers": {},
          "num_decoder_layers": {}, "d_model": {}, "num_heads": {}, "d_kv": {}, "d_ff": {}, "vocab_size": {},
          "feed_forward_proj": "{}", "tie_word_embeddings": {}, "dtype": "bfloat16"}})",
      name, name[0] == 't' ? "T5" : "UMT5", draw.Between(1, 3), draw.Between(1, 3), 8 * draw.Between(1, 6),
      draw.Between(1, 3), 4 * draw.Between(1, 4), 8 * draw.Between(1, 12), draw.Between(20, 90),
      draw.Coin() ? "relu" : "gated-gelu", draw.Coin());
}

std::string WhisperConfig(Draw& draw) {
  const std::int64_t heads = draw.Between(1, 3);
  return fmt::format(
      R"({{"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": {},
          "encoder_layers": {}, "decoder_layers": {}, "encoder_attention_heads": {}, "decoder_attention_heads": {},
          "encoder_ffn_dim": {}, "decoder_ffn_dim": {}, "vocab_size": {}, "num_mel_bins": {},
          "max_source_positions": {}, "max_target_positions": 64, "dtype": "float16"}})",
      heads * 16, draw.Between(1, 3), draw.Between(1, 3), draw.Coin() ? heads : 1, heads, 8 * draw.Between(1, 12),
      8 * draw.Between(1, 12), draw.Between(20, 90), draw.Between(1, 12), draw.Between(1, 40));
}

TestTask RandomEncoderDecoder(unsigned seed, const std::string& gpus = "generic:15GB") {
  Draw draw(seed);
  const std::string config = draw.Coin() ? T5Config(draw) : WhisperConfig(draw);
  Result<Model> model = BuildModel(*HfConfig::Parse(config, "config.json"), fmt::format("seed {}", seed));
  EXPECT_TRUE(model.ok()) << model.error().message;
  TestTask out{*std::move(model), *BuildMachine({.gpus = {gpus}, .cpu = "1GB", .disk = "1GB"}, {}), {}};
  out.request = {.batch = 2 * draw.Between(1, 2),
                 .prompt_tokens = draw.Between(1, 12),
                 .new_tokens = draw.Coin() ? draw.Between(0, 3) : draw.Between(4, 20)};
  return out;
}

// Empty when all rules hold, else what is wrong.
std::string Judge(const Lowered& lowered) {
  if (const Status plan = CheckPlan(lowered.plan); !plan) return plan.error().message;
  if (const Status schedule = CheckSchedule(lowered.schedule); !schedule) return schedule.error().message;
  return "";
}

Bytes PlacedCaches(const Plan& plan) {
  Bytes bytes;
  for (const Placement& p : plan.placements) {
    if (p.arena == "kv" || p.arena == "host_kv") bytes += p.bytes;
  }
  return bytes;
}

TEST(EncoderDecoder, IsSoundAtAnyBudgetFromTheSmallestAndCachesWhatTheClosedFormSays) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    TestTask test = RandomEncoderDecoder(seed);
    const Result<Bytes> least = RingStrategy().smallest_gpu_budget(test.task());
    const Result<Bytes> most = ResidentStrategy().smallest_gpu_budget(test.task());
    ASSERT_TRUE(least && most) << seed;
    const Bytes caches = CacheBytes(test.model, test.request.CachePositions()) * test.request.batch;
    for (int quarters = 0; quarters <= 4; ++quarters) {
      test.Budget("gpu0") = *least + (*most - *least) * quarters / 4;
      for (const auto& [strategy, parameters] : {std::pair(RingStrategy(), ""),
                                                 {RingStrategy(), "64KiB:rows"},
                                                 {LayersStrategy(), "1"},
                                                 {LayersStrategy(), "2"},
                                                 {DeviceMapRingStrategy(), "optimal"},
                                                 {ResidentStrategy(), ""}}) {
        const std::string what =
            fmt::format("seed {} {}:{} in {}", seed, strategy.name, parameters, test.Budget("gpu0").value());
        const Result<Lowered> lowered = strategy.lower(test.task(), parameters);
        if (!lowered && (strategy.name != "ring" || *parameters != '\0')) {
          EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible) << what << ": " << lowered.error().message;
          continue;
        }
        ASSERT_TRUE(lowered) << what << ": " << lowered.error().message;
        EXPECT_EQ(Judge(*lowered), "") << what;
        EXPECT_EQ(PlacedCaches(lowered->plan), caches) << what;
      }
    }
    test.Budget("gpu0") = *least - Bytes(256);
    EXPECT_FALSE(RingStrategy().lower(test.task(), "").ok()) << seed;
  }
}

TEST(EncoderDecoder, IsSoundOverTwoGpus) {
  int lowered_ones = 0;
  for (unsigned seed = 100; seed < 140; ++seed) {
    TestTask test = RandomEncoderDecoder(seed, "2x20MB");
    for (const int kilobytes : {20'000, 400, 200, 100, 60, 30}) {
      for (const char* pool : {"gpu0", "gpu1"}) {
        test.Budget(pool) = test.machine.Reserved(pool) + Bytes(kilobytes * 1000);
      }
      for (const auto& [strategy, parameters] : {std::pair(PipelineStrategy(), "1"),
                                                 {PipelineStrategy(), "2"},
                                                 {RingsStrategy(), ""},
                                                 {DeviceMapRingStrategy(), "auto"}}) {
        const std::string what = fmt::format("seed {} {}:{} in {} KB", seed, strategy.name, parameters, kilobytes);
        const Result<Lowered> lowered = strategy.lower(test.task(), parameters);
        if (!lowered) {
          EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible) << what << ": " << lowered.error().message;
          continue;
        }
        EXPECT_EQ(Judge(*lowered), "") << what;
        ++lowered_ones;
      }
    }
  }
  EXPECT_GT(lowered_ones, 300);
}

// Of a tensor, the bytes that all copies into a ring bring: for the prefill, and for all decode passes together.
struct Streamed {
  std::int64_t prefill = 0, decode = 0;
};
std::map<std::string, Streamed> StreamedOf(const Schedule& schedule) {
  std::map<std::string, Streamed> out;
  const auto count = [&](const Section& section, std::int64_t times) {
    for (StepId id = section.begin; id < section.end; ++id) {
      const Step& step = schedule.steps[id];
      if (step.kind != StepKind::kCopy) continue;
      const std::string& to = schedule.buffers[step.writes[0].buffer].name;
      const std::size_t ring = to.find("@ring/");
      if (ring == to.npos) continue;
      Streamed& tensor = out[to.substr(0, std::min(ring, to.find('[')))];
      (to.substr(ring) == "@ring/prefill" ? tensor.prefill : tensor.decode) += step.writes[0].bytes.base * times;
    }
  };
  for (const Phase& phase : schedule.phases) {
    count(phase.prologue, 1);
    count(phase.body, phase.iterations);
    count(phase.epilogue, 1);
  }
  return out;
}

bool OfTheFirstPass(const std::string& name) {
  for (const char* part :
       {".EncDecAttention.k.", ".EncDecAttention.v.", ".encoder_attn.k_proj.", ".encoder_attn.v_proj."})
    if (name.find(part) != name.npos) return true;
  return name.starts_with("encoder.") || name.starts_with("model.encoder.");
}

TEST(EncoderDecoder, StreamsEachMatrixOnceAPassAndTheEncodersInTheFirstAlone) {
  int encoders = 0, decoders = 0;
  for (unsigned seed = 200; seed < 260; ++seed) {
    TestTask test = RandomEncoderDecoder(seed);
    test.request.new_tokens = std::max<std::int64_t>(2, test.request.new_tokens);
    const Result<Ring> ring = Ring::Of(test.task());
    ASSERT_TRUE(ring.ok()) << ring.error().message;
    const Bytes least = ring->SmallestBudget(), most = ring->ResidentBudget();
    for (int eighths = 0; eighths < 8; ++eighths) {
      test.Budget("gpu0") = least + (most - least) * eighths / 8;
      const Result<Lowered> lowered = RingStrategy().lower(test.task(), "64KiB:rows");
      if (!lowered) continue;
      bool decoder_streams = false, encoder_stays = false;
      const std::map<std::string, Streamed> streamed = StreamedOf(lowered->schedule);
      for (const TensorPlan& t : lowered->plan.tensors) {
        std::int64_t rows = 0;
        for (const Residency& r : t.parts) rows += r.where == Where::kStreamed ? r.row_end - r.row_begin : 0;
        const auto found = streamed.find(t.name);
        const Streamed counted = found == streamed.end() ? Streamed{} : found->second;
        const std::int64_t bytes = rows * t.bytes().value() / t.Rows();
        const bool first = OfTheFirstPass(t.name);
        EXPECT_EQ(counted.prefill, bytes) << seed << " " << t.name;
        EXPECT_EQ(counted.decode, first ? 0 : bytes * test.request.DecodePasses()) << seed << " " << t.name;
        encoders += first && rows > 0;
        decoders += !first && rows > 0;
        decoder_streams = decoder_streams || (!first && rows > 0);
        encoder_stays = encoder_stays || (first && t.shape.size() == 2 && rows == 0 && t.name.ends_with("fc1.weight"));
      }
      // What a token needs stays before what only the first pass does.
      EXPECT_FALSE(decoder_streams && encoder_stays) << seed << " in " << test.Budget("gpu0").value();
    }
  }
  EXPECT_GT(encoders, 500);
  EXPECT_GT(decoders, 500);
}

// 2 FLOPs a row and weight: the encoder's for each of its rows, as cross attention's keys and values; the head's for one
// row a sequence, the others' for the decoder's rows.
TEST(EncoderDecoder, MultipliesEachRowByEachMatrixOnce) {
  for (unsigned seed = 300; seed < 340; ++seed) {
    const TestTask test = RandomEncoderDecoder(seed);
    for (const Pass& pass : {PrefillOf(test.request), DecodeOf(test.request)}) {
      const Result<OpGraph> graph = BuildOpGraph(test.model, pass, test.request.prompt_tokens + 1);
      ASSERT_TRUE(graph.ok()) << graph.error().message;
      double counted = 0, expected = 0;
      for (const Op& op : graph->ops) counted += op.kind == OpKind::kLinear ? op.flops.base : 0;
      const bool first = pass.past == 0;
      const std::int64_t prompt = test.request.prompt_tokens;
      const auto source = static_cast<double>(SourcePositions(test.model, prompt) * pass.batch);
      const auto rows = static_cast<double>((first ? DecoderPrompt(test.model, prompt) : 1) * pass.batch);
      for (const Tensor& t : test.model.tensors) {
        const Module& module = test.model.modules[static_cast<std::size_t>(t.module)];
        if (module.class_name != "Linear") continue;
        const bool head = module.name == "lm_head" || module.name == "proj_out";
        const double times = OfTheFirstPass(t.name) ? (first ? source : 0)
                             : head                 ? static_cast<double>(pass.batch)
                                                    : rows;
        expected += times * static_cast<double>(Elements(t.shape)) * (t.shape.size() < 2 ? 1 : 2);
      }
      EXPECT_NEAR(counted, expected, 1e-9 * expected) << seed << " " << pass.Name();
    }
  }
}

TEST(EncoderDecoder, WithoutAHeadMakesNoTokensButItsLastRows) {
  const std::string config = R"({"model_type": "t5", "architectures": ["T5Model"], "num_layers": 1, "d_model": 16,
      "num_heads": 2, "d_kv": 8, "d_ff": 24, "vocab_size": 40})";
  TestTask test{*BuildModel(*HfConfig::Parse(config, "config.json"), "headless"), TinyMachine(), {}};
  test.request = {.prompt_tokens = 5, .new_tokens = 2};
  EXPECT_EQ(ResidentStrategy().lower(test.task(), "").error().message,
            "headless is a T5Model: without a head it makes no tokens");
  test.request.new_tokens = 0;
  const Result<Lowered> lowered = ResidentStrategy().lower(test.task(), "");
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(Judge(*lowered), "");
}

}  // namespace
}  // namespace stowage

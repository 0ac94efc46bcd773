// The native runtime on a small model of every family: programs on one screen, lowerings against the checkers.
#include "planner/families/families.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "planner/families/testing/tiny_models.h"
#include "planner/formats/file.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/strategy/native/layers.h"
#include "planner/strategy/native/proposal.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_proposal.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"

namespace stowage {
namespace {

constexpr const char* kGolden = "planner/strategy/native/goldens/programs.txt";

TestTask TaskOf(const TinyConfig& tiny) {
  TestTask out{TinyModel(tiny), TinyMachine(), {}};
  out.request = {.batch = 2, .prompt_tokens = 6, .new_tokens = MakesTokens(out.model) ? 9 : 0};
  return out;
}

TinyConfig Named(std::string_view name) {
  const auto all = TinyConfigs();
  return *std::find_if(all.begin(), all.end(), [&](const TinyConfig& c) { return name == c.name; });
}

std::string ProgramText(const TinyConfig& tiny) {
  TestTask test = TaskOf(tiny);
  std::string out = fmt::format("== {}\n", tiny.name);
  const auto native = RealizeModel(test.task());
  if (!native) return out + native.error().message + "\n";
  for (const NativeProgram* program : {&(*native)->prefill, &(*native)->decode}) {
    if (program->kernels.empty()) continue;
    out += Dump(*program, test.model);
    for (std::size_t l = 0; l < program->caches.size(); ++l) {
      out += fmt::format("cache {} keys {} values {}\n", l, program->caches[l].keys.value(),
                         program->caches[l].values.value());
    }
  }
  return out;
}

// One family for each thing that none before it shows. The file is this test's own output, read through by a human; a
// failing run leaves the new text beside its log.
TEST(NativePrograms, OfTheFamiliesReadLikeThis) {
  std::string all;
  for (const char* name : {"gemma2", "deepseek_v3 fp8", "mixtral", "gpt_oss mxfp4", "falcon 40b", "gpt2", "whisper",
                           "t5 with its decoder"}) {
    all += ProgramText(Named(name));
  }
  const Result<std::string> golden = ReadTextFile(kGolden, 1 << 22);
  const bool same = golden && *golden == all;
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (!same && outputs != nullptr) {
    std::FILE* file = std::fopen((std::string(outputs) + "/programs.txt").c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fwrite(all.data(), 1, all.size(), file);
    std::fclose(file);
  }
  ASSERT_TRUE(golden) << golden.error().message;
  EXPECT_TRUE(same) << "the programs differ from " << kGolden;
}

// Empty when all rules hold, else what is wrong.
std::string Judge(const Lowered& lowered) {
  if (const Status plan = CheckPlan(lowered.plan); !plan) return plan.error().message;
  if (const Status schedule = CheckSchedule(lowered.schedule); !schedule) return schedule.error().message;
  return "";
}

TEST(NativeStrategies, LowerEveryFamilyAtEveryBudgetFromTheSmallestTheyName) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    TestTask test = TaskOf(tiny);
    test.model = WiderModel(tiny);
    const Strategy resident = ResidentStrategy(), ring = RingStrategy();
    const Result<Lowered> all = resident.lower(test.task(), "");
    ASSERT_TRUE(all) << tiny.name << ": " << all.error().message;
    EXPECT_EQ(Judge(*all), "") << tiny.name;
    const Result<Bytes> least = ring.smallest_gpu_budget(test.task());
    const Result<Bytes> most = resident.smallest_gpu_budget(test.task());
    ASSERT_TRUE(least && most) << tiny.name;
    EXPECT_LE(*least, *most) << tiny.name;
    for (int eighths = 0; eighths <= 8; ++eighths) {
      test.Budget("gpu0") = *least + (*most - *least) * eighths / 8;
      for (const char* parameters : {"", "64KiB", "64KiB:rows"}) {
        const Result<Lowered> lowered = ring.lower(test.task(), parameters);
        if (!lowered && *parameters != '\0') {  // a ring of that size need not fit
          EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible);
          continue;
        }
        ASSERT_TRUE(lowered) << tiny.name << " in " << test.Budget("gpu0").value() << ": " << lowered.error().message;
        EXPECT_EQ(Judge(*lowered), "") << tiny.name << " in " << test.Budget("gpu0").value();
      }
    }
  }
}

TEST(LayersStrategy, LowersEveryFamilyWithAnyNumberOfLayersAndTheirExpertsOnTheHost) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    TestTask test = TaskOf(tiny);
    const Strategy layers = LayersStrategy();
    for (const char* parameters : {"0", "1", "2", "all", "all:cpu-moe", "2:cpu-moe", "all:n-cpu-moe:1"}) {
      const Result<Lowered> lowered = layers.lower(test.task(), parameters);
      ASSERT_TRUE(lowered) << tiny.name << " " << parameters << ": " << lowered.error().message;
      EXPECT_EQ(Judge(*lowered), "") << tiny.name << " " << parameters;
    }
  }
}

// Route and shared experts stay: the host computes the routed ones and adds them up.
TEST(LayersStrategy, LeavesNothingButTheRoutedExpertsToTheHostWithCpuMoe) {
  TestTask test = TaskOf(Named("deepseek_v3 fp8"));
  const Result<Lowered> lowered = LayersStrategy().lower(test.task(), "all:cpu-moe");
  ASSERT_TRUE(lowered) << lowered.error().message;
  for (const TensorPlan& t : lowered->plan.tensors) {
    const bool routed = t.name.find(".experts.") != std::string::npos;
    const bool table = t.name == "model.embed_tokens.weight";
    for (const Residency& r : t.parts) EXPECT_EQ(r.pool, routed || table ? "host" : "gpu0") << t.name;
    EXPECT_EQ(t.device, "gpu0") << t.name;
  }
}

TEST(RowTile, TilesOfAllExpertsAddUpToTheGroupedKernel) {
  for (const char* name : {"mixtral", "deepseek_v3 fp8", "gpt_oss", "gpt_oss mxfp4"}) {
    TestTask test = TaskOf(Named(name));
    const auto native = RealizeModel(test.task());
    ASSERT_TRUE(native);
    int kernels = 0;
    for (const NativeKernel& whole : (*native)->prefill.kernels) {
      if (whole.kernel.kind != KernelKind::kGroupedLinear) continue;
      ++kernels;
      double flops = 0;
      std::int64_t matrix_bytes = 0, expected = 0;
      for (std::int32_t m = 0; m < whole.matrices; ++m) {
        const Operand& matrix = whole.reads[static_cast<std::size_t>(whole.first_matrix + m)];
        const std::int64_t rows = test.model.tensors[static_cast<std::size_t>(matrix.id)].shape[0], half = rows / 2;
        expected += matrix.bytes.base;
        for (const auto& [begin, end] : {std::pair(std::int64_t{0}, half), std::pair(half, rows)}) {
          const NativeKernel tile = RowTile(whole, rows, begin, end, m);
          ASSERT_EQ(tile.matrices, 1);
          const Operand& part = tile.reads[static_cast<std::size_t>(tile.first_matrix)];
          EXPECT_EQ(part.id, matrix.id);
          EXPECT_EQ(part.offset.base, begin * (matrix.bytes.base / rows));
          EXPECT_EQ(tile.writes, whole.writes);
          matrix_bytes += part.bytes.base;
          flops += tile.kernel.flops.base;
        }
      }
      EXPECT_EQ(matrix_bytes, expected) << name;
      EXPECT_NEAR(flops, whole.kernel.flops.base, 1e-9 * flops) << name;
    }
    EXPECT_EQ(kernels, name == std::string_view("gpt_oss") ? 4 : name[0] == 'g' ? 2 : 3) << name;
  }
}

std::int64_t StreamedBytes(const Schedule& schedule, const char* phase) {
  std::int64_t bytes = 0;
  for (const Phase& p : schedule.phases) {
    if (p.name != phase) continue;
    for (const Section* section : {&p.prologue, &p.body, &p.epilogue}) {
      for (StepId id = section->begin; id < section->end; ++id) {
        const Step& step = schedule.steps[id];
        if (step.kind == StepKind::kCopy && schedule.buffers[step.writes[0].buffer].kind == BufferKind::kStaging) {
          bytes += step.writes[0].bytes.base;
        }
      }
    }
  }
  return bytes;
}

// Batch 1 touches 2 of 8 experts a token: a decode pass reads those in place. The prompt of 64 touches them all.
TEST(RingStrategy, StreamsAllExpertsForAPromptAndGathersTheTouchedOnesForAToken) {
  TestTask test = TaskOf({"mixtral", R"({"model_type": "mixtral", "num_hidden_layers": 2, "hidden_size": 64,
      "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 256, "vocab_size": 40,
      "num_local_experts": 8, "torch_dtype": "bfloat16"})"});
  test.request = {.batch = 1, .prompt_tokens = 64, .new_tokens = 4};
  const Strategy ring = RingStrategy();
  test.Budget("gpu0") = Ring::Of(test.task())->SmallestBudget() + Bytes(100'000);
  const Result<Lowered> lowered = ring.lower(test.task(), "");
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(Judge(*lowered), "");
  std::int64_t experts = 0, on_host = 0;
  for (const TensorPlan& t : lowered->plan.tensors) {
    if (t.name.find(".experts.") == std::string::npos) continue;
    experts += t.bytes().value();
    for (const Residency& r : t.parts) {
      if (r.where == Where::kStreamed) {
        EXPECT_EQ(r.phases, "prefill");
        on_host += (r.row_end - r.row_begin) * (t.bytes().value() / t.Rows());
      }
    }
  }
  EXPECT_EQ(experts, 2 * 8 * 3 * 64 * 256 * 2);
  EXPECT_GT(on_host, experts / 2);
  EXPECT_EQ(StreamedBytes(lowered->schedule, "decode"), 0);  // the other matrices are resident
  std::int64_t gathered = 0;
  for (const Kernel& k : lowered->schedule.kernels) {
    if (k.kind == KernelKind::kGroupedLinear) gathered += k.host_bytes.base;
  }
  EXPECT_EQ(gathered, on_host / 4);  // 2 of 8
}

TEST(NativeStrategies, SayThatAnEncoderMakesNoTokens) {
  TestTask test = TaskOf(Named("bert"));
  test.request.new_tokens = 2;
  EXPECT_EQ(ResidentStrategy().lower(test.task(), "").error().message,
            "bert is a BertModel, which makes no tokens: ask for none (--new 0)");
}

}  // namespace
}  // namespace stowage

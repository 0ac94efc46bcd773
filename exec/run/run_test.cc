#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "exec/host/host_device.h"
#include "exec/kernel_args.h"
#include "exec/run/execute.h"
#include "exec/testing/tiny_llama.h"

namespace stowage {
namespace {

struct Ran {
  TinyAnswer answer;
  Execution execution;
};

// On host devices; fails the test when it does not run.
Ran RunOnHost(const TinyLlama& llama, const TinyLowering& lowering, const std::string& file) {
  const Schedule schedule = LowerTiny(llama, lowering, file);
  auto devices = MakeHostDevices(schedule);
  EXPECT_TRUE(devices);
  auto run = Execute(schedule, *devices, {InputsOf(llama)}, {.captures = {{"prefill", "logits"}}, .spans = true});
  if (!run) {
    ADD_FAILURE() << run.error().message;
    return {};
  }
  TinyAnswer answer{ValuesOf<std::int32_t>(run->outputs.at("tokens")), run->captured.at("logits"), {}};
  return {std::move(answer), *std::move(run)};
}

TEST(Execute, GivesWhatTheKernelsGiveWhenCalledPlainly) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const TinyLlama llama{.file_dtype = dtype, .dtype = dtype};
    const std::string file = WriteWeights(llama, "plain");
    const TinyAnswer expected = RunPlainly(llama, file, HostKernels());
    const TinyAnswer got = RunOnHost(llama, {}, file).answer;
    EXPECT_EQ(got.tokens, expected.tokens) << Name(dtype);
    EXPECT_EQ(got.logits, expected.logits) << Name(dtype);
  }
}

TEST(Execute, ConvertsWhileLoading) {
  const TinyLlama llama{.file_dtype = DType::kBF16, .dtype = DType::kF32};
  const std::string file = WriteWeights(llama, "convert");
  const TinyAnswer expected = RunPlainly(llama, file, HostKernels());
  const TinyAnswer got = RunOnHost(llama, {.chunk_bytes = 768}, file).answer;
  EXPECT_EQ(got.tokens, expected.tokens);
  EXPECT_EQ(got.logits, expected.logits);
}

TEST(Execute, GivesTheSameBytesThroughARingOfAnySizeAndTiling) {
  const TinyLlama llama;
  const std::string file = WriteWeights(llama, "ring");
  const TinyAnswer expected = RunPlainly(llama, file, HostKernels());
  for (const TinyLowering lowering :
       {TinyLowering{.ring_bytes = 6144}, TinyLowering{.ring_bytes = 10240}, TinyLowering{.ring_bytes = 100000},
        TinyLowering{.ring_bytes = 2048, .tile_rows = 5}, TinyLowering{.ring_bytes = 4096, .tile_rows = 16}}) {
    const TinyAnswer got = RunOnHost(llama, lowering, file).answer;
    EXPECT_EQ(got.tokens, expected.tokens) << lowering.ring_bytes;
    EXPECT_EQ(got.logits, expected.logits) << lowering.ring_bytes;
  }
}

TEST(Execute, MeasuresEveryStepOfEveryIteration) {
  const TinyLlama llama;
  const Ran ran = RunOnHost(llama, {.ring_bytes = 6144}, WriteWeights(llama, "measure"));
  const Schedule schedule = LowerTiny(llama, {.ring_bytes = 6144}, "");
  std::size_t steps = 0;
  for (const Phase& phase : schedule.phases) {
    steps += static_cast<std::size_t>(phase.prologue.end - phase.prologue.begin);
    steps += static_cast<std::size_t>((phase.body.end - phase.body.begin) * phase.iterations);
  }
  const Timeline& t = ran.execution.measured;
  EXPECT_EQ(t.spans.size(), steps);
  ASSERT_EQ(t.phases.size(), 3u);
  EXPECT_EQ(t.phases[1].iterations, 1);
  EXPECT_EQ(t.phases[2].iterations, llama.new_tokens - 1);
  Seconds sum;
  for (const PhaseTimeline& phase : t.phases) sum += phase.seconds;
  EXPECT_NEAR(sum.value(), t.length.value(), 1e-9);
  for (const ResourceTimeline& resource : t.resources) {
    Seconds idle;
    for (const auto& [cause, seconds] : resource.idle_causes) idle += seconds;
    EXPECT_NEAR(idle.value(), resource.idle.value(), 1e-9) << resource.resource;
    EXPECT_NEAR((resource.busy + resource.idle).value(), t.length.value(), 1e-9) << resource.resource;
  }
  for (const PoolTimeline& pool : t.pools) {
    Bytes arenas;
    for (const Buffer& buffer : schedule.buffers) {
      const bool arena = buffer.parent < 0 && schedule.pools[buffer.pool].name == pool.pool;
      if (arena) arenas += buffer.bytes.at(0);
    }
    EXPECT_EQ(pool.peak.bytes, arenas) << pool.pool;
  }
}

Error ErrorOf(const Schedule& schedule, const Contents& contents, const ExecuteOptions& options = {}) {
  auto devices = MakeHostDevices(schedule);
  if (!devices) return std::move(devices).error();
  auto run = Execute(schedule, *devices, {contents}, options);
  return run ? Error{ErrorCode::kInternal, "it ran"} : std::move(run).error();
}

TEST(Execute, RefusesAnArenaBeyondItsPoolsBudget) {
  const TinyLlama llama;
  Schedule schedule = LowerTiny(llama, {}, WriteWeights(llama, "budget"));
  schedule.pools[0].budget = Bytes(40000);
  const Error error = ErrorOf(schedule, InputsOf(llama));
  EXPECT_EQ(error.code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(error.message, "step 'allocate weights': arena 'weights' needs 79104 bytes, gpu0 has 39944 left of 40000");
}

TEST(Execute, NamesTensorFileAndOffsetOfATruncatedFile) {
  const TinyLlama llama;
  const std::string file = WriteWeights(llama, "truncated");
  const std::vector<TinyTensor> tensors = TensorsOf(llama);
  std::filesystem::resize_file(file, static_cast<std::uintmax_t>(tensors.back().file_offset + 1000));
  const Error error = ErrorOf(LowerTiny(llama, {}, file), InputsOf(llama));
  EXPECT_EQ(error.code, ErrorCode::kIo);
  EXPECT_EQ(error.message, "head: " + file + " at offset " + std::to_string(tensors.back().file_offset) +
                               ": wanted 1024 bytes, got 1000: the file ends early");
}

TEST(Execute, AsksForMissingInputs) {
  const TinyLlama llama;
  const std::string file = WriteWeights(llama, "inputs");
  Contents contents = InputsOf(llama);
  contents.erase("inv_freq");
  EXPECT_EQ(ErrorOf(LowerTiny(llama, {}, file), contents).message,
            "no contents given for the initial buffer 'inv_freq' of 16 bytes");
}

TEST(Execute, NamesATokenOutsideTheVocabulary) {
  TinyLlama llama{.prompt = {1, 2, 64}};
  const std::string file = WriteWeights(llama, "vocabulary");
  const Error error = ErrorOf(LowerTiny(llama, {}, file), InputsOf(llama));
  EXPECT_EQ(error.code, ErrorCode::kInvalidInput);
  EXPECT_EQ(error.message, "embedding 'embed' on gpu0: a token id outside the vocabulary");
}

// What leaves host memory, by an issuer of its own.
Schedule WithALoader(const TinyLlama& llama, const std::string& file) {
  Schedule schedule = LowerTiny(llama, {.ring_bytes = 6144}, file);
  schedule.issuers.push_back({.name = "loader"});
  for (Step& step : schedule.steps) {
    if (step.kind == StepKind::kCopy && !step.reads.empty() &&
        schedule.buffers[schedule.RootOf(step.reads[0].buffer)].name == "host_weights") {
      step.issuer = 1;
    }
  }
  return schedule;
}

TEST(Execute, RunsOneThreadForEachIssuer) {
  const TinyLlama llama;
  const std::string file = WriteWeights(llama, "issuers");
  const Schedule schedule = WithALoader(llama, file);
  const TinyAnswer expected = RunPlainly(llama, file, HostKernels());
  for (int i = 0; i < 20; ++i) {
    auto devices = MakeHostDevices(schedule);
    auto run = Execute(schedule, *devices, {InputsOf(llama)}, {});
    ASSERT_TRUE(run) << run.error().message;
    EXPECT_EQ(ValuesOf<std::int32_t>(run->outputs.at("tokens")), expected.tokens);
  }
}

// The order in which the steps of a run were issued: by the time of issue.
std::vector<StepId> IssueOrder(const Timeline& timeline) {
  std::vector<StepSpan> spans = timeline.spans;
  std::ranges::stable_sort(spans, {}, [](const StepSpan& span) { return span.issued; });
  std::vector<StepId> out;
  for (const StepSpan& span : spans) out.push_back(span.step);
  return out;
}

TEST(Execute, LetsTheFirstIssuerGoOnWheneverItCan) {
  const TinyLlama llama;
  const std::string file = WriteWeights(llama, "in_turn");
  const Schedule schedule = WithALoader(llama, file);
  const TinyAnswer expected = RunPlainly(llama, file, HostKernels());
  std::vector<std::size_t> first_copy;
  for (const std::int32_t first : {0, 1}) {
    auto devices = MakeHostDevices(schedule);
    auto run = Execute(schedule, *devices, {InputsOf(llama)}, {.spans = true, .first_issuer = first});
    ASSERT_TRUE(run) << run.error().message;
    EXPECT_EQ(ValuesOf<std::int32_t>(run->outputs.at("tokens")), expected.tokens);
    const std::vector<StepId> order = IssueOrder(run->measured);
    const auto loader = [&](StepId step) { return schedule.steps[step].issuer == 1; };
    first_copy.push_back(static_cast<std::size_t>(std::ranges::find_if(order, loader) - order.begin()));
  }
  EXPECT_LT(first_copy[1], first_copy[0]);
}

TEST(Execute, NamesAStepOfIssuersThatWaitForEachOther) {
  const TinyLlama llama;
  Schedule schedule = WithALoader(llama, WriteWeights(llama, "deadlock"));
  const auto loader = std::ranges::find(schedule.steps, 1, &Step::issuer) - schedule.steps.begin();
  schedule.steps[loader].after.push_back({.step = static_cast<StepId>(schedule.steps.size()) - 1});
  const Error error = ErrorOf(schedule, InputsOf(llama), {.first_issuer = 0});
  EXPECT_EQ(error.code, ErrorCode::kInternal);
  EXPECT_NE(error.message.find("the issuers wait for each other"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace stowage

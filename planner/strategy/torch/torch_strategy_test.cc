#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/realize/torch.h"
#include "planner/schedule/check.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

using testing::HasSubstr;

constexpr Bytes kWorkspace(8'519'680);  // cuBLAS on a T4

Machine T4() {
  Result<Machine> machine = BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  EXPECT_TRUE(machine.ok()) << machine.error().message;
  return *std::move(machine);
}

Model Llama() {
  Result<Model> model = ZooModel("llama-3.2-1b");
  EXPECT_TRUE(model.ok()) << model.error().message;
  return *std::move(model);
}

struct Case {
  Model model = Llama();
  Machine machine = T4();
  Request request{.batch = 2, .prompt_tokens = 20};
  std::int64_t last_decode_passes = 0;

  Lowered Lower(const Strategy& strategy) const {
    Result<Lowered> lowered = strategy.lower(Task(), "");
    EXPECT_TRUE(lowered.ok()) << lowered.error().message;
    return *std::move(lowered);
  }
  PlanningTask Task() const {
    return {.model = &model, .machine = &machine, .request = request, .last_decode_passes = last_decode_passes};
  }
  TorchTrace Trace(std::int64_t decode_pass, bool offload) const {
    Pass pass = decode_pass < 0 ? PrefillOf(request) : DecodeOf(request);
    Result<TorchProgram> program = RealizeTorch(model, pass);
    EXPECT_TRUE(program.ok());
    if (offload) program = AddSequentialOffloadHooks(*std::move(program), model);
    return RecorderForm(*program, model, std::max<std::int64_t>(decode_pass, 0));
  }
};

// Runs a schedule's memory steps as they stand, iteration by iteration.
class Walk {
 public:
  struct Segment {  // what one phase did to gpu0
    std::string phase;
    std::vector<std::int64_t> sizes;  // > 0 allocated, < 0 freed, 0 a flush
    Bytes peak;
  };

  explicit Walk(const Schedule& schedule) : s_(schedule), size_(schedule.buffers.size(), -1) {
    for (const Phase& phase : s_.phases) {
      Run(phase, phase.prologue, 0);
      for (std::int64_t i = 0; i < phase.iterations; ++i) Run(phase, phase.body, i);
      Run(phase, phase.epilogue, 0);
    }
  }

  std::vector<Segment> segments;      // one a phase
  std::map<std::string, int> passes;  // by phase
  Bytes live, host_live, host_peak;

 private:
  void Run(const Phase& phase, const Section& section, std::int64_t iteration) {
    for (StepId id = section.begin; id < section.end; ++id) {
      const Step& step = s_.steps[id];
      const std::int32_t pass = step.kind == StepKind::kCompute && step.instance.op == 0 ? step.instance.pass : -1;
      if (segments.empty() || segments.back().phase != phase.name) segments.push_back({phase.name, {}, live});
      if (pass >= 0 && started_.count({phase.name, iteration, pass, &section}) == 0) {
        started_.insert({phase.name, iteration, pass, &section});
        ++passes[phase.name];
      }
      Do(step, iteration);
    }
  }

  void Do(const Step& step, std::int64_t iteration) {
    for (const std::vector<Slice>* slices : {&step.reads, &step.writes}) {
      for (const Slice& slice : *slices) {
        const Buffer& b = s_.buffers[slice.buffer];
        if (b.initial) continue;
        EXPECT_GE(size_[slice.buffer], 0) << "touches " << b.name << ", which is not allocated";
        EXPECT_LE((slice.offset.at(iteration) + slice.bytes.at(iteration)).value(), size_[slice.buffer]) << b.name;
      }
    }
    if (step.kind == StepKind::kEmptyCache) segments.back().sizes.push_back(0);
    if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) return;
    const Buffer& b = s_.buffers[step.buffer];
    std::int64_t& size = size_[step.buffer];
    const bool gpu = s_.pools[b.pool].allocator == Allocator::kTorchCaching;
    Bytes& total = gpu ? live : host_live;
    if (step.kind == StepKind::kAllocate) {
      EXPECT_LT(size, 0) << b.name << " is allocated twice";
      size = b.bytes.at(iteration).value();
      total += Bytes(size);
      if (gpu) segments.back().sizes.push_back(size);
    } else {
      EXPECT_GE(size, 0) << b.name << " is freed but not allocated";
      total -= Bytes(size);
      if (gpu) segments.back().sizes.push_back(-size);
      size = -1;
    }
    segments.back().peak = std::max(segments.back().peak, live);
    host_peak = std::max(host_peak, host_live);
  }

  const Schedule& s_;
  std::vector<std::int64_t> size_;  // by buffer; -1: not allocated
  std::set<std::tuple<std::string, std::int64_t, std::int32_t, const Section*>> started_;
};

Bytes DeviceWeights(const Model& model, bool offload) {
  Bytes bytes;
  for (const Tensor& t : model.tensors) {
    if (t.tied_to == kNoId && (t.buffer || !offload)) bytes += t.bytes();
  }
  return bytes;
}

std::vector<Strategy> Both() { return {TorchResidentStrategy(), SequentialOffloadStrategy()}; }
bool Offloads(const Strategy& strategy) { return strategy.name == "sequential-offload"; }

// Sizes in the order of a recorded trace, without empty tensors (the allocator gives them nothing) and what only the
// recorder does: adopting the cache, and dropping the results.
std::vector<std::int64_t> SizesOf(const TorchTrace& trace, const Model& model, bool offload, bool decode) {
  std::vector<std::int64_t> sizes;
  bool started = false;
  for (const auto& [name, bytes] : trace.events) {
    started |= name == "zeros.default";
    if (started && (bytes != 0 || name == "empty_cache")) sizes.push_back(bytes);
  }
  std::size_t dropped = 1;  // logits
  if (!decode) dropped += 2 * static_cast<std::size_t>(model.shape.layers);
  sizes.resize(sizes.size() - dropped);
  EXPECT_EQ(offload, std::count(sizes.begin(), sizes.end(), 0) > 0);
  return sizes;
}

TEST(TorchStrategyTest, PrefillAllocatesAndFreesWhatTheRecordedProgramDoes) {
  const Case c{.request = {.batch = 2, .prompt_tokens = 20, .new_tokens = 1}};
  for (const Strategy& strategy : Both()) {
    const Walk walk(c.Lower(strategy).schedule);
    ASSERT_EQ(walk.segments.size(), 2u);
    std::vector<std::int64_t> sizes = walk.segments[1].sizes;
    const std::vector<std::int64_t> recorded =
        SizesOf(c.Trace(-1, Offloads(strategy)), c.model, Offloads(strategy), false);
    const auto workspace = std::find(sizes.begin(), sizes.end(), kWorkspace.value());
    ASSERT_NE(workspace, sizes.end());
    sizes.erase(workspace);
    sizes.resize(sizes.size() - 3);  // next ids in, logits out, next ids out
    EXPECT_EQ(sizes, recorded) << strategy.name;
  }
}

TEST(TorchStrategyTest, EveryDecodePassIsLoweredOnce) {
  for (const Strategy& strategy : Both()) {
    for (std::int64_t passes = 0; passes <= 9; ++passes) {
      const Case c{.request = {.batch = 1, .prompt_tokens = 4, .new_tokens = passes + 1}};
      const Schedule schedule = c.Lower(strategy).schedule;
      Walk walk(schedule);
      EXPECT_EQ(walk.passes["prefill"], 1);
      EXPECT_EQ(walk.passes["decode"], passes);
      if (passes == 0) continue;
      const Phase& decode = schedule.phases.back();
      EXPECT_EQ(decode.prologue.passes + decode.iterations * decode.body.passes + decode.epilogue.passes, passes);
    }
  }
}

// The peak of the decode phase, by the schedule's own steps, against the recorder's form of its last pass.
TEST(TorchStrategyTest, TheDecodePeakIsThatOfTheRecordedLastPass) {
  for (const Strategy& strategy : Both()) {
    for (const std::int64_t passes : {1, 2, 3, 4, 5, 8, 11}) {
      const Case c{.request = {.batch = 2, .prompt_tokens = 6, .new_tokens = passes + 1}};
      const Walk walk(c.Lower(strategy).schedule);
      const Bytes fixed = DeviceWeights(c.model, Offloads(strategy)) + kWorkspace;
      const TorchTrace last = c.Trace(passes - 1, Offloads(strategy));
      EXPECT_EQ(walk.segments.back().peak, fixed + last.peak_live) << strategy.name << ", " << passes << " passes";
      // What lives on: the cache, and the ids that the last pass chose where the schedule ends in a body.
      const bool loops = passes > 4;
      const Bytes logits = SizeOf(DType::kBF16, 2 * c.model.shape.vocab);
      EXPECT_EQ(walk.live, fixed + last.kept - logits + Bytes(loops ? 16 : 0)) << strategy.name << ", " << passes;
    }
  }
}

TEST(TorchStrategyTest, SequentialOffloadKeepsTheModelInPageableHostMemoryAndResidentOnlyOneTensor) {
  const Case c;
  const Bytes weights = c.model.WeightBytes();
  const Walk offloaded(c.Lower(SequentialOffloadStrategy()).schedule);
  EXPECT_EQ(offloaded.host_peak, weights + Bytes(16));  // and the ids that come back
  const Walk resident(c.Lower(TorchResidentStrategy()).schedule);
  EXPECT_EQ(resident.host_peak, SizeOf(DType::kBF16, c.model.shape.vocab * c.model.shape.hidden));
}

TEST(TorchStrategyTest, UploadsAreBlockingPageableCopiesOnTheDefaultStreamFollowedByAFlush) {
  const Case c{.request = {.batch = 1, .prompt_tokens = 4, .new_tokens = 1}};
  const Schedule s = c.Lower(SequentialOffloadStrategy()).schedule;
  const Section prefill = s.phases[1].prologue;
  std::int64_t uploads = 0, bytes = 0, hooks = 0;
  for (StepId id = prefill.begin; id < prefill.end; ++id) {
    const Step& step = s.steps[id];
    if (step.kind == StepKind::kCompute && s.kernels[step.kernel].name == "accelerate hook") ++hooks;
    if (step.kind != StepKind::kCopy || s.buffers[step.writes[0].buffer].kind != BufferKind::kWeights) continue;
    ++uploads;
    bytes += step.writes[0].bytes.base;
    EXPECT_TRUE(step.blocking && step.pageable);
    EXPECT_EQ(s.queues[step.queue].name, "gpu0/default");
    EXPECT_FALSE(s.buffers[step.reads[0].buffer].pinned);
    EXPECT_EQ(s.steps[id - 1].kind, StepKind::kAllocate);
    EXPECT_EQ(s.steps[id + 1].kind, StepKind::kEmptyCache);
  }
  EXPECT_EQ(uploads, 9 * c.model.shape.layers + 3);  // the tied table twice
  EXPECT_EQ(hooks, uploads + 1);                     // the rotary module has buffers only
  EXPECT_EQ(bytes, c.model.WeightBytes().value() + 2 * c.model.shape.vocab * c.model.shape.hidden);
}

TEST(TorchStrategyTest, RankingSchedulesRunOnlyTheLastPassesWithTheCacheOfThoseBefore) {
  for (const Strategy& strategy : Both()) {
    const Case c{.request = {.batch = 1, .prompt_tokens = 6, .new_tokens = 101}, .last_decode_passes = 2};
    Walk walk(c.Lower(strategy).schedule);
    EXPECT_EQ(walk.passes["decode"], 2);
    const Bytes fixed = DeviceWeights(c.model, Offloads(strategy)) + kWorkspace;
    EXPECT_EQ(walk.live, fixed + c.Trace(99, false).kept - SizeOf(DType::kBF16, c.model.shape.vocab));
  }
}

TEST(TorchStrategyTest, ThePlanPlacesEveryTensor) {
  const Case c;
  for (const Strategy& strategy : Both()) {
    const Plan plan = c.Lower(strategy).plan;
    const Status status = CheckPlan(plan);
    EXPECT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(plan.tensors.size(), c.model.tensors.size());
    EXPECT_EQ(plan.runtime, "torch");
  }
}

TEST(TorchStrategyTest, TheSmallestBudgetIsThePeakOfRoundedTensors) {
  const Case c{.request = {.batch = 1, .prompt_tokens = 512, .new_tokens = 1}};
  const Result<Bytes> budget = SequentialOffloadStrategy().smallest_gpu_budget(c.Task());
  ASSERT_TRUE(budget.ok());
  EXPECT_EQ(*budget, c.Trace(-1, true).peak_rounded + kWorkspace + Bytes(1024) + c.machine.Reserved("gpu0"));
}

TEST(TorchStrategyTest, TheCheckerAcceptsTheSchedules) {
  for (const Strategy& strategy : Both()) {
    for (const std::int64_t passes : {0, 1, 2, 5, 6, 41}) {
      const Case c{.request = {.batch = 2, .prompt_tokens = 6, .new_tokens = passes + 1}};
      const Status status = CheckSchedule(c.Lower(strategy).schedule);
      EXPECT_TRUE(status.ok()) << strategy.name << ", " << passes << " passes: " << status.error().message;
    }
  }
}

TEST(TorchStrategyTest, TensorsThatTheFileHoldsInAnotherTypeAreCastInHostMemory) {
  Case c{.request = {.batch = 1, .prompt_tokens = 4, .new_tokens = 1}};
  c.model.files = {"model.safetensors"};
  std::int64_t offset = 0;
  for (Tensor& t : c.model.tensors) {
    if (t.tied_to != kNoId || t.buffer) continue;
    t.source = FileSlice{.file = 0, .offset = offset, .dtype = DType::kF32};
    offset += SizeOf(DType::kF32, Elements(t.shape)).value();
  }
  const Schedule s = c.Lower(SequentialOffloadStrategy()).schedule;
  const Status status = CheckSchedule(s);
  EXPECT_TRUE(status.ok()) << status.error().message;
  std::int64_t read = 0, casts = 0;
  for (const Step& step : s.steps) {
    if (step.kind == StepKind::kRead) read += step.writes[0].bytes.base;
    if (step.kind == StepKind::kCompute && s.kernels[step.kernel].kind == KernelKind::kConvert) ++casts;
  }
  EXPECT_EQ(read, offset);
  EXPECT_EQ(casts, 9 * c.model.shape.layers + 2);
  EXPECT_EQ(Walk(s).host_live, c.model.WeightBytes() + Bytes(8));  // the wide copies are gone
}

// Without a cache each token is a pass over everything before it: no caches are held, and the last pass is the peak.
TEST(TorchStrategyTest, WithoutACacheEachTokenRunsTheWholeContextAgain) {
  for (const Strategy& strategy : Both()) {
    Case c{.request = {.batch = 2, .prompt_tokens = 6, .new_tokens = 4, .kv = KvCache::kNone}};
    const Schedule schedule = c.Lower(strategy).schedule;
    const Status status = CheckSchedule(schedule);
    EXPECT_TRUE(status.ok()) << strategy.name << ": " << status.error().message;
    Walk walk(schedule);
    EXPECT_EQ(walk.passes["decode"], 3);
    const Pass last = {.batch = 2, .tokens = 9, .keeps_cache = false};
    TorchProgram program = *RealizeTorch(c.model, last);
    if (Offloads(strategy)) program = AddSequentialOffloadHooks(std::move(program), c.model);
    const Bytes fixed = DeviceWeights(c.model, Offloads(strategy)) + kWorkspace;
    EXPECT_EQ(walk.segments.back().peak, fixed + RecorderForm(program, c.model).peak_live) << strategy.name;
    EXPECT_EQ(walk.live, fixed) << strategy.name;
    c.last_decode_passes = 2;
    EXPECT_EQ(Walk(c.Lower(strategy).schedule).segments.back().peak, walk.segments.back().peak);
  }
}

// What the prefill allocates for the whole request, each decode pass writes in place.
TEST(TorchStrategyTest, AStaticCacheIsAllocatedByThePrefillAndNeverAgain) {
  for (const Strategy& strategy : Both()) {
    for (const std::int64_t passes : {1, 4, 11}) {
      const Case c{.request = {.batch = 2, .prompt_tokens = 6, .new_tokens = passes + 1, .kv = KvCache::kStatic}};
      const Schedule schedule = c.Lower(strategy).schedule;
      const Status status = CheckSchedule(schedule);
      EXPECT_TRUE(status.ok()) << strategy.name << ": " << status.error().message;
      Bytes cache;
      for (StepId id = 0; id < static_cast<StepId>(schedule.steps.size()); ++id) {
        const Step& step = schedule.steps[static_cast<std::size_t>(id)];
        if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) continue;
        const Buffer& b = schedule.buffers[static_cast<std::size_t>(step.buffer)];
        if (b.kind != BufferKind::kKv) continue;
        EXPECT_EQ(step.kind, StepKind::kAllocate);
        EXPECT_LT(id, schedule.phases[1].prologue.end) << b.name;
        cache += b.bytes.at(0);
      }
      const TransformerShape& s = c.model.shape;
      const Bytes keys = SizeOf(DType::kBF16, 2 * (6 + passes) * s.kv_heads * s.head_dim);
      EXPECT_EQ(cache, s.layers * (2 * keys + Bytes(8)));
      const Walk walk(schedule);
      const Bytes fixed = DeviceWeights(c.model, Offloads(strategy)) + kWorkspace;
      EXPECT_EQ(walk.segments.back().peak, fixed + c.Trace(passes - 1, Offloads(strategy)).peak_live);
    }
  }
}

TEST(TorchStrategyTest, RankingSchedulesOverAStaticCacheUseThatOfThePrefill) {
  const Case c{.request = {.batch = 1, .prompt_tokens = 6, .new_tokens = 101, .kv = KvCache::kStatic},
               .last_decode_passes = 2};
  Walk walk(c.Lower(TorchResidentStrategy()).schedule);
  EXPECT_EQ(walk.passes["decode"], 2);
  const Bytes fixed = DeviceWeights(c.model, false) + kWorkspace;
  EXPECT_EQ(walk.live, fixed + c.Trace(99, false).kept - SizeOf(DType::kBF16, c.model.shape.vocab));
}

TEST(TorchStrategyTest, RefusesTooManyRecomputedPasses) {
  const Case c{.request = {.prompt_tokens = 6, .new_tokens = 1026, .kv = KvCache::kNone}};
  const Result<Lowered> lowered = TorchResidentStrategy().lower(c.Task(), "");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().message,
            "--kv none: 1025 passes over the whole context are more than the 1024 that are simulated");
}

TEST(TorchStrategyTest, TakesNoParameters) {
  const Case c;
  const Result<Lowered> lowered = SequentialOffloadStrategy().lower(c.Task(), "2");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().message, "sequential-offload takes no parameters, not '2'");
}

}  // namespace
}  // namespace stowage

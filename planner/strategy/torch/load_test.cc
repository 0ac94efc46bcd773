// Every way to load: a tiny llama's load phase on one screen, all families and strategies against the checkers, closed
// forms of what the host holds at most.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/families/testing/tiny_models.h"
#include "planner/formats/file.h"
#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/strategy/testing/random_task.h"
#include "planner/strategy/torch/device_map_strategy.h"
#include "planner/strategy/torch/group_offload.h"
#include "planner/strategy/torch/model_offload.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

constexpr LoadMode kTorchModes[] = {LoadMode::kNaive, LoadMode::kByShard4, LoadMode::kByShard5,
                                    LoadMode::kByShardAccelerate, LoadMode::kByShardBin};

struct Case {
  Model model;
  Machine machine;
  Request request;

  PlanningTask task() const { return {.model = &model, .machine = &machine, .request = request}; }
};

Case On(Model model, Loading loading, const std::string& cpu = "400GB") {
  return {std::move(model),
          *BuildMachine({.gpus = {"190GB"}, .cpu = cpu, .disk = "1TB"}, {}),
          {.prompt_tokens = 4, .new_tokens = 3, .loading = loading}};
}

Model Zoo(const char* name, std::optional<DType> dtype = std::nullopt) {
  Model model = *ZooModel(name);
  if (dtype) SetDType(model, *dtype);
  return model;
}

// One layer of a tiny llama in fp16, in two files, computed with in bf16.
Model TwoShards() {
  Model model = TinyLlamaModel({.file_dtype = DType::kF16, .dtype = DType::kBF16});
  model.files = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
  for (std::size_t i = model.tensors.size() / 2; i < model.tensors.size(); ++i) {
    if (model.tensors[i].source) model.tensors[i].source->file = 1;
  }
  return model;
}

// The lines of the first phase of a schedule's text.
std::string LoadPhaseOf(const Schedule& schedule) {
  const std::string text = Dump(schedule);
  const std::size_t begin = text.find("phase load");
  return text.substr(begin, text.find("\nphase ", begin) + 1 - begin);
}

// What a pool holds at most while loading: bytes of its buffers between their allocation and their end.
Bytes LoadPeak(const Schedule& schedule, std::string_view pool) {
  Bytes now, peak;
  const StepId end = schedule.phases[0].epilogue.end;
  const auto counts = [&](const Buffer& b) {
    return b.pool >= 0 && schedule.pools[b.pool].name == pool && b.parent < 0;
  };
  for (StepId i = 0; i < end; ++i) {
    const Step& step = schedule.steps[i];
    if (step.kind != StepKind::kAllocate && step.kind != StepKind::kFree) continue;
    const Buffer& buffer = schedule.buffers[step.buffer];
    if (!counts(buffer) || buffer.kind == BufferKind::kTokens) continue;
    const Bytes bytes(buffer.bytes.base);
    now += step.kind == StepKind::kAllocate ? bytes : Bytes(0) - bytes;
    peak = std::max(peak, now);
  }
  return peak;
}

Bytes Parameters(const Model& model, DType dtype) { return SizeOf(dtype, model.Parameters()); }

std::vector<Bytes> SizesOf(const Model& model, DType dtype) {
  std::vector<Bytes> sizes;
  for (const Tensor& t : model.tensors) {
    if (!t.buffer && t.tied_to == kNoId) sizes.push_back(SizeOf(dtype, Elements(t.shape)));
  }
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  return sizes;
}

std::vector<std::pair<Strategy, const char*>> TorchStrategies() {
  return {{TorchResidentStrategy(), ""},         {SequentialOffloadStrategy(), ""},
          {ModelOffloadStrategy(), ""},          {GroupOffloadStrategy(), "leaf:stream"},
          {GroupOffloadStrategy(), "leaf:disk"}, {DeviceMapStrategy(), "auto"}};
}

std::string Judge(const Result<Lowered>& lowered) {
  if (!lowered) return lowered.error().message;
  const Status plan = CheckPlan(lowered->plan), schedule = CheckSchedule(lowered->schedule);
  if (!plan.ok()) return plan.error().message;
  return schedule.ok() ? "" : schedule.error().message;
}

TEST(Loading, OfATinyLlamaIsOnOneScreenInEveryWay) {
  std::vector<std::optional<LoadMode>> ways = {std::nullopt};
  ways.insert(ways.end(), std::begin(kTorchModes), std::end(kTorchModes));
  for (const std::optional<LoadMode>& mode : ways) {
    const Case c = On(TwoShards(), {.mode = mode});
    const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
    ASSERT_EQ(Judge(lowered), "");
    std::string name = mode ? std::string(Name(*mode)) : "each";
    std::replace(name.begin(), name.end(), ':', '-');
    const std::string path = fmt::format("planner/strategy/torch/goldens/load-{}.txt", name);
    const std::string text = LoadPhaseOf(lowered->schedule);
    const Result<std::string> golden = ReadTextFile(path, 1 << 20);
    const bool same = golden && *golden == text;
    const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
    if (!same && outputs != nullptr) {
      std::FILE* file = std::fopen(fmt::format("{}/load-{}.txt", outputs, name).c_str(), "w");
      ASSERT_NE(file, nullptr);
      std::fwrite(text.data(), 1, text.size(), file);
      std::fclose(file);
    }
    EXPECT_TRUE(same) << "the load phase differs from " << path;
  }
}

TEST(Loading, HoldsForEveryFamilyStrategyAndWay) {
  for (const TinyConfig& tiny : TinyConfigs()) {
    for (const auto& [strategy, parameters] : TorchStrategies()) {
      const Case plain = On(TinyModel(tiny), {});
      if (const Result<Lowered> lowered = strategy.lower(plain.task(), parameters); !lowered) continue;
      for (const LoadMode mode : kTorchModes) {
        for (const std::optional<DType> dtype : {std::optional<DType>(), {DType::kF32}}) {
          const Case c = On(TinyModel(tiny), {.mode = mode, .dtype = dtype, .warm = dtype.has_value()});
          EXPECT_EQ(Judge(strategy.lower(c.task(), parameters)), "")
              << tiny.name << " " << strategy.name << " " << Describe(c.request.loading);
        }
      }
    }
  }
}

TEST(Loading, NaiveHoldsTheModelInFp32AndTheCheckpointAtOnce) {
  for (const char* name : {"llama-8b", "llama-7b"}) {
    const Case c = On(Zoo(name), {.mode = LoadMode::kNaive});
    const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
    ASSERT_TRUE(lowered.ok()) << lowered.error().message;
    EXPECT_EQ(LoadPeak(lowered->schedule, "host"),
              Parameters(c.model, DType::kF32) + Parameters(c.model, DType::kBF16));
  }
}

TEST(Loading, NaiveOfA7BStoredInFp32TakesTwiceItsSize) {
  const Case c = On(Zoo("llama-7b", DType::kF32), {.mode = LoadMode::kNaive});
  const Result<Lowered> lowered = SequentialOffloadStrategy().lower(c.task(), "");
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(LoadPeak(lowered->schedule, "host"), Bytes(2 * 6'738'415'616 * 4));
}

TEST(Loading, NaiveInADTypeThatIsSaidDoesNotWidenIt) {
  const Case c = On(Zoo("llama-8b"), {.mode = LoadMode::kNaive, .dtype = DType::kBF16});
  const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(LoadPeak(lowered->schedule, "host"), Bytes(2 * 16'060'522'496));
}

TEST(Loading, ByShardTakesPageCacheOfAShardOrOfAllShardsAndNoHostMemory) {
  const Model model = Zoo("llama-8b");
  for (const auto& [mode, cache] : {std::pair(LoadMode::kByShard4, Bytes(0)),
                                    {LoadMode::kByShardAccelerate, Bytes(0)},
                                    {LoadMode::kByShard5, Bytes(16'060'522'496)}}) {
    const Case c = On(model, {.mode = mode});
    const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
    ASSERT_TRUE(lowered.ok()) << lowered.error().message;
    EXPECT_EQ(LoadPeak(lowered->schedule, "host"), Bytes(0)) << Name(mode);
    const Bytes mapped = LoadPeak(lowered->schedule, "page cache");
    if (cache > Bytes(0)) {
      EXPECT_EQ(mapped, cache) << Name(mode);
    } else {
      EXPECT_LE(mapped, Bytes(5'000'000'000)) << Name(mode);  // less than a tensor below it
      EXPECT_GT(mapped, Bytes(5'000'000'000) - SizesOf(model, DType::kBF16)[0]) << Name(mode);
    }
  }
}

TEST(Loading, ByShardInAnotherDTypeCastsOneTensorOrFourOnTheHost) {
  const Model model = Zoo("llama-8b");
  const std::vector<Bytes> sizes = SizesOf(model, DType::kF32);
  for (const auto& [mode, most] :
       {std::pair(LoadMode::kByShard4, sizes[0]), {LoadMode::kByShard5, sizes[0] + sizes[1] + sizes[2] + sizes[3]}}) {
    const Case c = On(model, {.mode = mode, .dtype = DType::kF32});
    const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
    ASSERT_TRUE(lowered.ok()) << lowered.error().message;
    if (mode == LoadMode::kByShard4) {
      EXPECT_EQ(LoadPeak(lowered->schedule, "host"), most);
    } else {
      EXPECT_LE(LoadPeak(lowered->schedule, "host"), most);
    }
  }
}

TEST(Loading, OfPickledShardsHoldsTheLargestShardBesideWhatStaysOnTheHost) {
  const Case gpu = On(Zoo("llama-8b"), {.mode = LoadMode::kByShardBin});
  const Result<Lowered> moved = TorchResidentStrategy().lower(gpu.task(), "");
  ASSERT_TRUE(moved.ok()) << moved.error().message;
  EXPECT_LE(LoadPeak(moved->schedule, "host"), Bytes(5'000'000'000));
  EXPECT_GT(LoadPeak(moved->schedule, "host"), Bytes(3'900'000'000));
  // What stays is what was read, but not in another dtype: then the last shard lies beside all weights.
  const Result<Lowered> stays = SequentialOffloadStrategy().lower(gpu.task(), "");
  ASSERT_TRUE(stays.ok()) << stays.error().message;
  EXPECT_EQ(LoadPeak(stays->schedule, "host"), Bytes(16'060'522'496));
}

TEST(Loading, AcceleratesShardsThatAreCastOnTheGpuAreThereTwice) {
  const Model model = Zoo("llama-8b");
  const auto peak = [&](LoadMode mode) {
    const Case c = On(model, {.mode = mode, .dtype = DType::kF32});
    const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
    EXPECT_TRUE(lowered.ok()) << lowered.error().message;
    return LoadPeak(lowered->schedule, "gpu0");
  };
  const Bytes last_shard = Bytes(16'060'522'496) - Bytes(3) * 4'900'000'000;  // about: the head alone is 1.05 GB
  EXPECT_GT(peak(LoadMode::kByShardAccelerate), Parameters(model, DType::kF32) + SizesOf(model, DType::kBF16)[0]);
  EXPECT_LT(peak(LoadMode::kByShardAccelerate), Parameters(model, DType::kF32) + last_shard * 4);
}

TEST(Loading, BeyondTheHostsBudgetNamesThePeakAndWhatIsAlive) {
  const Case c = On(Zoo("llama-7b", DType::kF32), {.mode = LoadMode::kNaive}, "30GB");
  const Result<Lowered> lowered = TorchResidentStrategy().lower(c.task(), "");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().code, ErrorCode::kInfeasible);
  EXPECT_EQ(lowered.error().message,
            "host peak 53.91 GB in load at 'allocate lm_head.weight@state_dict', over the budget of 30.00 GB: weights "
            "26.95 GB, staging 26.95 GB, tokens 32 B; largest: model.embed_tokens.weight@host 524.3 MB, "
            "lm_head.weight@host 524.3 MB, model.embed_tokens.weight@state_dict 524.3 MB. 53,907,325,472 bytes of host "
            "memory would do");
  Case enough = On(Zoo("llama-7b", DType::kF32), {.mode = LoadMode::kNaive});
  enough.machine.pools[enough.machine.FindPool("host")].budget = Bytes(53'907'325'472);
  EXPECT_EQ(Judge(TorchResidentStrategy().lower(enough.task(), "")), "");
  enough.machine.pools[enough.machine.FindPool("host")].budget = Bytes(53'907'325'471);
  EXPECT_FALSE(TorchResidentStrategy().lower(enough.task(), "").ok());
}

TEST(Loading, RefusesWhatARuntimeDoesNot) {
  const Model model = TinyLlamaModel({});
  const auto refusal = [&](Loading loading, const Strategy& strategy, const char* parameters) {
    const Case c = On(model, loading);
    const Result<Lowered> lowered = strategy.lower(c.task(), parameters);
    return lowered.ok() ? "it is lowered" : lowered.error().message;
  };
  EXPECT_EQ(refusal({.mode = LoadMode::kStream}, TorchResidentStrategy(), ""),
            "--load stream: the torch runtime loads by naive or by-shard");
}

TEST(Loading, WritesWeightsForTheDiskToAnOffloadFolderWhereAccelerateDoes) {
  const char* map = R"({"model": 0, "model.layers.0": "cpu", "model.layers.1": "disk", "lm_head": "disk"})";
  const Model model = TinyLlamaModel({.layers = 3});
  Bytes disk, host;
  for (const Tensor& t : model.tensors) {
    if (t.name.starts_with("model.layers.1.") || t.name.starts_with("lm_head.")) disk += t.bytes();
    if (t.name.starts_with("model.layers.0.")) host += t.bytes();
  }
  const auto peak = [&](LoadMode mode, const char* pool) {
    const Case c = On(model, {.mode = mode});
    const Result<Lowered> lowered = DeviceMapStrategy().lower(c.task(), map);
    EXPECT_EQ(Judge(lowered), "") << Name(mode);
    return lowered ? LoadPeak(lowered->schedule, pool) : Bytes(-1);
  };
  EXPECT_EQ(peak(LoadMode::kByShard4, "offload folder"), Bytes(0));
  EXPECT_EQ(peak(LoadMode::kByShard5, "offload folder"), Bytes(0));
  EXPECT_EQ(peak(LoadMode::kNaive, "offload folder"), disk);
  EXPECT_EQ(peak(LoadMode::kByShardAccelerate, "offload folder"), disk + host);
  EXPECT_EQ(peak(LoadMode::kByShardBin, "offload folder"), disk + host);
  EXPECT_EQ(peak(LoadMode::kByShardAccelerate, "host"), host);  // read back when the shard is gone
}

TEST(Loading, BeyondTheDisksBudgetNamesTheOffloadFolder) {
  Case c = On(Zoo("llama-8b"), {.mode = LoadMode::kNaive});
  c.machine.pools[c.machine.FindPool("disk")].budget = Bytes(1'000'000'000);
  const Result<Lowered> lowered = DeviceMapStrategy().lower(c.task(), R"({"model": 0, "lm_head": "disk"})");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(
      lowered.error().message,
      "offload folder peak 1.05 GB in load at 'allocate lm_head.weight@folder', over the budget of 1.00 GB: weights "
      "1.05 GB; largest: lm_head.weight@folder 1.05 GB. 1,050,673,152 bytes of disk would do");
}

TEST(Loading, IsReadAndDescribedAsTheCommandLineHasIt) {
  Loading loading;
  EXPECT_EQ(Describe(loading), "");
  EXPECT_TRUE(ReadLoadMode("by-shard", loading).ok());
  EXPECT_EQ(loading.mode, LoadMode::kByShard5);
  EXPECT_TRUE(ReadLoadDType("auto", loading).ok());
  EXPECT_EQ(Describe(loading), "load by-shard:5 as stored");
  EXPECT_TRUE(ReadLoadDType("fp16", loading).ok());
  EXPECT_TRUE(ReadPageCache("warm", loading).ok());
  EXPECT_EQ(Describe(loading), "load by-shard:5 in fp16, warm page cache");
  EXPECT_EQ(ReadLoadMode("shard", loading).error().message,
            "'shard' is no way to load; naive, by-shard:4, by-shard:5, by-shard:accelerate, by-shard:bin, stream are "
            "(by-shard: by-shard:5)");
  EXPECT_EQ(ReadLoadDType("int8", loading).error().message,
            "'int8' is no dtype to load in; auto, fp32, fp16 and bf16 are");
  EXPECT_EQ(ReadPageCache("hot", loading).error().message, "'hot' is no page cache; cold and warm are");
}

}  // namespace
}  // namespace stowage

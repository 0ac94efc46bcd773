// What simulate says of host memory while a checkpoint is loaded, against what was measured of the real libraries
// (reports/measured/loading.json, from tests/peer/measure_loading.py).
#include "planner/model/loading.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/model/model.h"
#include "planner/strategy/registry.h"
#include "planner/strategy/strategy.h"
#include "sim/engine/engine.h"
#include "sim/timeline/timeline.h"

namespace stowage {
namespace {

using Json = nlohmann::json;

// Of both figures: what else a process allocates, its libraries' pages, the coarseness of reading /proc.
constexpr std::int64_t kSlack = 12'000'000;

Json Measured() {
  const Result<std::string> text = ReadTextFile("reports/measured/loading.json", 1 << 20);
  EXPECT_TRUE(text.ok());
  return text ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
}

// Saved in bf16, in files of at most 64 MB in the order of the model, computed with in `dtype`.
Model SavedModel(const Json& measured, DType dtype) {
  Model model = *BuildModel(*HfConfig::Parse(measured["config"].dump(), "config"), "measured");
  const Bytes most(64'000'000);
  std::vector<Bytes> shards = {Bytes(0)};
  for (Tensor& t : model.tensors) {
    if (t.buffer) continue;
    const Bytes bytes = SizeOf(DType::kBF16, Elements(t.shape));
    if (shards.back() + bytes > most) shards.emplace_back();
    t.source = FileSlice{static_cast<std::int32_t>(shards.size()) - 1, shards.back().value(), DType::kBF16};
    shards.back() += bytes;
  }
  std::vector<std::int64_t> sizes;
  for (const Bytes shard : shards) {
    model.files.push_back(fmt::format("model-{}.safetensors", model.files.size()));
    sizes.push_back(shard.value());
  }
  EXPECT_EQ(sizes, measured["shard_bytes"].get<std::vector<std::int64_t>>());
  SetDType(model, dtype);
  return model;
}

// A map needs a GPU: the norm of two kB.
std::string MapOf(const Json& disk) {
  Json map = {{"model", "cpu"}, {"model.norm", 0}};
  for (const Json& module : disk) map[module.get<std::string>()] = "disk";
  return map.dump();
}

Bytes LoadPeak(const Timeline& timeline, const std::string& name) {
  const PhaseTimeline* load = FindPhase(timeline, "load");
  Bytes peak;
  for (const PoolTimeline& pool : timeline.pools) {
    if (pool.pool != name) continue;
    for (const PoolSample& sample : pool.curve) {
      if (sample.at <= load->start + load->seconds) peak = std::max(peak, sample.bytes);
    }
  }
  return peak;
}

TEST(Loading, TakesTheHostMemoryThatTheRealLibrariesTook) {
  const Json measured = Measured();
  ASSERT_EQ(measured["ways"].size(), 12U);
  for (const Json& way : measured["ways"]) {
    const DType dtype = *ParseDType(way["dtype"].get<std::string>());
    const Model model = SavedModel(measured, dtype);
    const Machine machine = *BuildMachine({.gpus = {"20GB"}, .cpu = "20GB", .disk = "1TB"}, {});
    PlanningTask task{.model = &model, .machine = &machine, .request = {.prompt_tokens = 8, .new_tokens = 2}};
    task.request.dtype = dtype;
    ASSERT_TRUE(ReadLoadMode(way["load"].get<std::string>(), task.request.loading).ok());
    const std::vector<Strategy> all = AllStrategies();  // the weights stay on the host, as in the measured processes
    const Result<Lowered> lowered = way.contains("disk")
                                        ? FindStrategy(all, "device-map")->strategy->lower(task, MapOf(way["disk"]))
                                        : FindStrategy(all, "sequential-offload")->strategy->lower(task, "");
    ASSERT_TRUE(lowered.ok()) << lowered.error().message;
    const Result<Timeline> timeline = Simulate(lowered->schedule, machine, {.record_curves = true});
    ASSERT_TRUE(timeline.ok()) << timeline.error().message;
    const std::string what = Describe(task.request.loading) + " " + std::string(Name(dtype));
    const std::int64_t host = LoadPeak(*timeline, "host").value(), cache = LoadPeak(*timeline, "page cache").value();
    const auto anon = way["anon_peak_bytes"].get<std::int64_t>(), file = way["file_peak_bytes"].get<std::int64_t>();
    EXPECT_NEAR(static_cast<double>(host), static_cast<double>(anon), kSlack) << what;
    if (way.contains("disk")) {
      EXPECT_NEAR(LoadPeak(*timeline, "offload folder").value(), way["folder_bytes"].get<std::int64_t>() + host, 4096);
    }
    // Views are mapped, but pages come with the first use: the simulation reads them while loading.
    const bool views = dtype == DType::kBF16 && cache > 0 && !way.contains("disk");
    if (views) {
      EXPECT_LT(file, kSlack + 1'000'000) << what;
    } else {
      EXPECT_NEAR(static_cast<double>(cache), static_cast<double>(file), kSlack) << what;
    }
    if (std::getenv("STOWAGE_SHOW") != nullptr) {
      fmt::print("{:30} host {:>11} measured {:>11}  page cache {:>11} measured {:>11}\n", what, host, anon, cache,
                 file);
    }
  }
}

}  // namespace
}  // namespace stowage

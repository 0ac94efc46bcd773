// Passes of models that a map spreads over several GPUs against what accelerate's dispatch_model really does.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/realize/testing/trace_golden.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_devices.h"
#include "planner/realize/torch_model.h"
#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/devices";

Result<Model> ModelOf(const TraceGolden& golden) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
  STOWAGE_TRY(const Model stored, BuildModel(config, "golden"));
  return AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype")));
}

// The pass on the GPUs of the golden's map.
Result<TorchProgram> Spread(const Model& model, const TraceGolden& golden) {
  const Machine machine = *BuildMachine({.gpus = {"3x24GB"}, .cpu = "30GB", .disk = "1GB"}, {});
  const PlanningTask task{.model = &model, .machine = &machine, .request = {}};
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, golden.facts.at("map")));
  std::vector<bool> offloaded;
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    offloaded.push_back(!model.tensors[t].buffer && homes.weights[t] != WeightHome::kDevice);
  }
  std::int64_t past = golden.Number("past");
  const std::int64_t prompt = golden.facts.contains("prompt") ? golden.Number("prompt") : 0;
  const std::int64_t reserved = golden.facts.contains("reserved") ? golden.Number("reserved") : 0;
  if (prompt > 0) past += prompt - model.shape.cross_positions;
  STOWAGE_TRY(TorchProgram program, RealizeTorch(model, {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
                                                         .batch = golden.Number("batch"),
                                                         .tokens = golden.Number("tokens"),
                                                         .past = past,
                                                         .prompt = prompt,
                                                         .reserved = reserved}));
  program = AddDispatchHooks(std::move(program), model, offloaded);
  return SpreadOverGpus(std::move(program), model, TorchPlacement::Dispatched(std::move(homes)).devices);
}

// Classes differ in the order in which they name the arguments of their layers, so copies that are made one after the
// other, and those that go one after the other, are put in order of size.
std::vector<std::string> Canonical(std::vector<std::string> events) {
  const auto is_copy = [](const std::string& event, bool release) {
    return event.starts_with("_to_copy.default") && (event.find(" -") != std::string::npos) == release;
  };
  for (const bool release : {false, true}) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      std::size_t end = i;
      while (end < events.size() && is_copy(events[end], release)) ++end;
      std::sort(events.begin() + static_cast<std::ptrdiff_t>(i), events.begin() + static_cast<std::ptrdiff_t>(end));
      i = std::max(i, end);
    }
  }
  return events;
}

class RecordedDevices : public testing::TestWithParam<std::string> {};

TEST_P(RecordedDevices, AreEqualEventByEvent) {
  const TraceGolden golden = ReadTraceGolden(kGoldens, GetParam());
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Result<TorchProgram> program = Spread(*model, golden);
  ASSERT_TRUE(program.ok()) << program.error().message;
  const TorchTrace trace = RecorderForm(*program, *model, 0, golden.Number("modules") != 0);
  ExpectSameEvents(Canonical(EventLines(trace)), Canonical(golden.events()));
  ExpectSameBytes(trace, golden);
}

TEST(SpreadOverGpus, RefusesPositionsThatAStaticCacheCountsOnAnotherGpuThanTheIds) {
  TraceGolden golden = ReadTraceGolden(kGoldens, "static.tiny.decode.modules");
  std::string& map = golden.facts.at("map");
  const std::string here = R"("model.layers.0": 0)";
  map.replace(map.find(here), here.size(), R"("model.layers.0": 2)");
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Result<TorchProgram> program = Spread(*model, golden);
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(program.error().message,
            "the device map gives add.Tensor of model operands on several GPUs: torch would raise (RuntimeError: "
            "Expected all tensors to be on the same device)");
}

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedDevices, testing::ValuesIn(TraceGoldenNames(kGoldens)), TraceTestName);

}  // namespace
}  // namespace stowage

// Passes of models that a map spreads over several GPUs against what accelerate's dispatch_model really does.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_devices.h"
#include "planner/realize/torch_model.h"
#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/devices";

struct Golden {
  std::map<std::string, std::string> facts;
  std::vector<std::string> events;
  std::int64_t Number(const std::string& key) const { return std::stoll(facts.at(key)); }
};

// The form that tests/peer/make_device_map_traces.py writes.
Golden ReadGolden(const std::filesystem::path& path) {
  Golden golden;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line) && golden.facts.count("events") == 0) {
    if (line.starts_with("#")) continue;
    const std::size_t space = line.find(' ');
    golden.facts[line.substr(0, space)] = line.substr(space + 1);
    if (line.starts_with("events ")) break;
  }
  while (std::getline(file, line)) {
    std::int64_t times = 1, lines = 1;
    std::vector<std::string> block = {line};
    if (line.starts_with("* ")) {
      std::istringstream(line.substr(2)) >> times >> lines;
      block.clear();
      for (std::int64_t i = 0; i < lines && std::getline(file, line); ++i) block.push_back(line);
    }
    for (std::int64_t i = 0; i < times; ++i) golden.events.insert(golden.events.end(), block.begin(), block.end());
  }
  return golden;
}

Result<Model> ModelOf(const Golden& golden) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
  STOWAGE_TRY(const Model stored, BuildModel(config, "golden"));
  return AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype")));
}

// The pass on the GPUs of the golden's map.
Result<TorchProgram> Spread(const Model& model, const Golden& golden) {
  const Machine machine = *BuildMachine({.gpus = {"3x24GB"}, .cpu = "30GB", .disk = "1GB"}, {});
  const PlanningTask task{.model = &model, .machine = &machine, .request = {}};
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, golden.facts.at("map")));
  std::vector<bool> offloaded;
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    offloaded.push_back(!model.tensors[t].buffer && homes.weights[t] != WeightHome::kDevice);
  }
  const std::int64_t past = golden.Number("past");
  STOWAGE_TRY(TorchProgram program, RealizeTorch(model, {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
                                                         .batch = golden.Number("batch"),
                                                         .tokens = golden.Number("tokens"),
                                                         .past = past}));
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
  const Golden golden = ReadGolden(std::filesystem::path(kGoldens) / (GetParam() + ".txt"));
  ASSERT_EQ(golden.events.size(), static_cast<std::size_t>(golden.Number("events")));
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Result<TorchProgram> program = Spread(*model, golden);
  ASSERT_TRUE(program.ok()) << program.error().message;
  const TorchTrace trace = RecorderForm(*program, *model, 0, golden.Number("modules") != 0);
  std::vector<std::string> events;
  for (const auto& [name, bytes] : trace.events) events.push_back(fmt::format("{} {}", name, bytes));
  events = Canonical(std::move(events));
  const std::vector<std::string> recorded = Canonical(golden.events);
  for (std::size_t i = 0; i < std::min(events.size(), recorded.size()); ++i) {
    ASSERT_EQ(events[i], recorded[i]) << "event " << i << " of " << events.size() << ", after "
                                      << (i > 0 ? events[i - 1] : "the start");
  }
  EXPECT_EQ(events.size(), recorded.size());
  EXPECT_EQ(trace.peak_live.value(), golden.Number("peak_live_bytes"));
  EXPECT_EQ(trace.peak_rounded.value(), golden.Number("peak_rounded_bytes"));
  EXPECT_EQ(trace.kept.value(), golden.Number("kept_bytes"));
}

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedDevices, testing::ValuesIn(GoldenNames()), TestName);

}  // namespace
}  // namespace stowage

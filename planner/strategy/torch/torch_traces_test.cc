// RealizeTorch against the recorded traces of every family: models built from a config, or taken from the zoo.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_model.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/families";

struct Golden {
  std::map<std::string, std::string> facts;
  std::vector<std::string> events;
  std::int64_t Number(const std::string& key) const { return std::stoll(facts.at(key)); }
};

// The form that tests/peer/make_torch_traces.py writes.
Golden ReadGolden(const std::filesystem::path& path) {
  Golden golden;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
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
  const auto build = [&]() -> Result<Model> {
    if (golden.facts.count("config") == 0) return ZooModel(golden.facts.at("model"));
    STOWAGE_TRY(const HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
    return BuildModel(config, "golden");
  };
  STOWAGE_TRY(const Model stored, build());
  return AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype")));
}

class RecordedFamily : public testing::TestWithParam<std::string> {};

TEST_P(RecordedFamily, IsEqualEventByEvent) {
  const Golden golden = ReadGolden(std::filesystem::path(kGoldens) / (GetParam() + ".txt"));
  ASSERT_EQ(golden.events.size(), static_cast<std::size_t>(golden.Number("events")));
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const std::int64_t past = golden.Number("past");
  Result<TorchProgram> realized = RealizeTorch(*model, {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
                                                        .batch = golden.Number("batch"),
                                                        .tokens = golden.Number("tokens"),
                                                        .past = past});
  ASSERT_TRUE(realized.ok()) << realized.error().message;
  const bool offload = golden.facts.at("offload") == "sequential";
  const TorchProgram program = offload ? AddSequentialOffloadHooks(*std::move(realized), *model) : *std::move(realized);
  const TorchTrace trace = RecorderForm(program, *model, 0, golden.Number("modules") != 0);
  std::vector<std::string> events;
  for (const auto& [name, bytes] : trace.events) events.push_back(fmt::format("{} {}", name, bytes));
  for (std::size_t i = 0; i < std::min(events.size(), golden.events.size()); ++i) {
    ASSERT_EQ(events[i], golden.events[i])
        << "event " << i << " of " << events.size() << ", after " << (i > 0 ? events[i - 1] : "the start");
  }
  EXPECT_EQ(events.size(), golden.events.size());
  EXPECT_EQ(trace.peak_live.value(), golden.Number("peak_live_bytes"));
  EXPECT_EQ(trace.peak_rounded.value(), golden.Number("peak_rounded_bytes"));
  EXPECT_EQ(trace.kept.value(), golden.Number("kept_bytes"));
  EXPECT_EQ(trace.parameters.value(), golden.Number("parameters_bytes"));
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

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedFamily, testing::ValuesIn(GoldenNames()), TestName);

}  // namespace
}  // namespace stowage

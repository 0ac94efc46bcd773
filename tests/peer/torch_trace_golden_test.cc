// Eager torch of every family beyond llama against what transformers' own classes allocate, as make_family_traces.py
// recorded it: the model is built from the golden's config, as `inspect trace` builds it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_model.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/families";

struct Golden {
  std::map<std::string, std::string> facts;
  std::vector<std::string> events;

  std::int64_t Number(const std::string& key) const { return std::stoll(facts.at(key)); }
};

// "* N M": the M lines after it occur N times in a row.
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

Pass PassOf(const Golden& golden) {
  const std::int64_t past = golden.Number("past");
  return {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
          .batch = golden.Number("batch"),
          .tokens = past > 0 ? 1 : golden.Number("tokens"),
          .past = past};
}

class FamilyTrace : public testing::TestWithParam<std::string> {};

TEST_P(FamilyTrace, IsEqualEventByEvent) {
  const Golden golden = ReadGolden(std::filesystem::path(kGoldens) / (GetParam() + ".txt"));
  ASSERT_EQ(golden.events.size(), static_cast<std::size_t>(golden.Number("events")));
  const Result<HfConfig> config = HfConfig::Parse(golden.facts.at("config"), "config.json");
  ASSERT_TRUE(config) << config.error().message;
  const Result<Model> stored = BuildModel(*config, GetParam());
  ASSERT_TRUE(stored) << stored.error().message;
  const Result<Model> model = AsTransformersHolds(*stored, ParseDType(golden.facts.at("dtype")));
  ASSERT_TRUE(model) << model.error().message;
  Result<TorchProgram> program = RealizeTorch(*model, PassOf(golden));
  ASSERT_TRUE(program) << program.error().message;
  if (golden.facts.at("offload") == "sequential") program = AddSequentialOffloadHooks(*std::move(program), *model);
  const TorchTrace trace = RecorderForm(*program, *model, 0, golden.Number("modules") != 0);
  std::vector<std::string> events;
  for (const auto& [name, bytes] : trace.events) events.push_back(fmt::format("{} {}", name, bytes));
  for (std::size_t i = 0; i < std::min(events.size(), golden.events.size()); ++i) {
    ASSERT_EQ(events[i], golden.events[i]) << "event " << i << " of " << events.size();
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

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyTrace, testing::ValuesIn(GoldenNames()), TestName);

}  // namespace
}  // namespace stowage

// Hooks of torch_hooks.h against recordings of diffusers and accelerate around transformers models: a prefill and decode
// passes, event by event, host memory and streams included.
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
#include "planner/formats/hf_config.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_hooks.h"
#include "planner/realize/torch_model.h"
#include "planner/strategy/torch/group_offload.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/offload";

struct Golden {
  std::map<std::string, std::string> facts;
  std::vector<std::vector<std::string>> passes;
  std::int64_t Number(const std::string& key) const { return std::stoll(facts.at(key)); }
};

// The form that tests/peer/make_offload_traces.py writes.
Golden ReadGolden(const std::filesystem::path& path) {
  Golden golden;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::int64_t number = 0, times = 1, lines = 1;
    if (line.starts_with("#")) continue;
    if (line.starts_with("pass ")) {
      std::istringstream(line.substr(5)) >> number >> lines;
      golden.passes.emplace_back().reserve(static_cast<std::size_t>(lines));
    } else if (golden.passes.empty()) {
      const std::size_t space = line.find(' ');
      golden.facts[line.substr(0, space)] = line.substr(space + 1);
    } else {
      std::vector<std::string> block = {line};
      if (line.starts_with("* ")) {
        std::istringstream(line.substr(2)) >> times >> lines;
        block.clear();
        for (std::int64_t i = 0; i < lines && std::getline(file, line); ++i) block.push_back(line);
      }
      std::vector<std::string>& pass = golden.passes.back();
      for (std::int64_t i = 0; i < times; ++i) pass.insert(pass.end(), block.begin(), block.end());
    }
  }
  return golden;
}

Result<Model> ModelOf(const Golden& golden) {
  STOWAGE_TRY(HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
  STOWAGE_TRY(const Model stored, BuildModel(config, "golden"));
  return AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype")));
}

// The config of the class without a head.
Golden Headless(Golden golden) {
  std::string& config = golden.facts.at("config");
  if (golden.Number("base") != 0) config.replace(config.find("ForCausalLM"), 11, "Model");
  return golden;
}

Result<TorchProgram> Realized(const Golden& golden, const Model& model, std::size_t number) {
  Pass pass{.batch = golden.Number("batch"), .tokens = golden.Number("tokens")};
  const auto decoded = static_cast<std::int64_t>(number) - 1;
  if (number > 0) pass = {.kind = Pass::Kind::kDecode, .batch = pass.batch, .past = pass.tokens + decoded};
  return RealizeTorch(model, pass);
}

// What hook.offload() does to a whole model.
std::vector<std::string> Downloads(const Model& model) {
  std::vector<std::string> lines;
  for (const TensorId id : ModuleToOrder(model, 0)) {
    const std::int64_t bytes = model.tensors[id].bytes().value();
    lines.push_back(fmt::format("host {}", bytes));
    lines.push_back(fmt::format("d2h {} pageable", bytes));
    lines.push_back(fmt::format("past {}", -bytes));
  }
  return lines;
}

Result<std::vector<std::string>> Predicted(const Golden& golden, const Model& model, std::size_t number) {
  const std::string& mode = golden.facts.at("mode");
  if (mode == "model-offload" && number + 1 == golden.passes.size()) return Downloads(model);
  STOWAGE_TRY(TorchProgram program, Realized(golden, model, number));
  if (mode == "model-offload") {
    if (number == 0) program = AddModelOffloadHooks(std::move(program), model);
    return OffloadTrace(program);
  }
  STOWAGE_TRY(const GroupOffload options, ParseGroupOffload(mode.substr(mode.find(':') + 1)));
  STOWAGE_TRY(const OffloadGroups groups, GroupsOf(model, options));
  STOWAGE_TRY(const TorchProgram first, Realized(golden, model, 0));
  const std::vector<ModuleId> traced = TracedOrder(first, groups);
  STOWAGE_TRY(program, AddGroupOffloadHooks(std::move(program), model, groups, number > 0 ? &traced : nullptr));
  return OffloadTrace(program);
}

class RecordedOffload : public testing::TestWithParam<std::string> {};

TEST_P(RecordedOffload, IsEqualEventByEvent) {
  const Golden golden = Headless(ReadGolden(std::filesystem::path(kGoldens) / (GetParam() + ".txt")));
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_GE(golden.passes.size(), 2u);
  for (std::size_t pass = 0; pass < golden.passes.size(); ++pass) {
    const Result<std::vector<std::string>> events = Predicted(golden, *model, pass);
    ASSERT_TRUE(events.ok()) << events.error().message;
    const std::vector<std::string>& recorded = golden.passes[pass];
    for (std::size_t i = 0; i < std::min(events->size(), recorded.size()); ++i) {
      ASSERT_EQ((*events)[i], recorded[i]) << "pass " << pass << ", event " << i << " of " << recorded.size()
                                           << ", after " << (i > 0 ? recorded[i - 1] : "the start");
    }
    EXPECT_EQ(events->size(), recorded.size()) << "pass " << pass;
  }
}

TEST_P(RecordedOffload, PinsAtTheAttachWhatWasPinnedThen) {
  const Golden golden = Headless(ReadGolden(std::filesystem::path(kGoldens) / (GetParam() + ".txt")));
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const std::string& mode = golden.facts.at("mode");
  Bytes pinned;
  if (mode != "model-offload") {
    const auto groups = GroupsOf(*model, *ParseGroupOffload(mode.substr(mode.find(':') + 1)));
    ASSERT_TRUE(groups.ok()) << groups.error().message;
    std::vector<bool> seen(model->tensors.size());
    for (const OffloadGroup& group : groups->groups) {
      for (const TensorId id : group.up) {
        if (!groups->IsPinned(group) || seen[id]) continue;
        seen[id] = true;
        pinned += model->tensors[id].bytes();
      }
    }
  }
  EXPECT_EQ(pinned.value(), golden.Number("pinned_at_attach"));
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

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedOffload, testing::ValuesIn(GoldenNames()), TestName);

}  // namespace
}  // namespace stowage

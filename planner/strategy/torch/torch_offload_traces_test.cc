// Hooks of torch_hooks.h against recordings of diffusers and accelerate around transformers models: a prefill and decode
// passes, event by event, host memory and streams included.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/realize/testing/offload_trace.h"
#include "planner/realize/testing/trace_golden.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_hooks.h"
#include "planner/realize/torch_model.h"
#include "planner/strategy/torch/group_offload.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/offload";

Result<Model> ModelOf(const TraceGolden& golden) {
  STOWAGE_TRY(HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
  STOWAGE_TRY(const Model stored, BuildModel(config, "golden"));
  return AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype")));
}

// The config of the class without a head.
TraceGolden Headless(TraceGolden golden) {
  std::string& config = golden.facts.at("config");
  if (golden.Number("base") != 0) config.replace(config.find("ForCausalLM"), 11, "Model");
  return golden;
}

Result<TorchProgram> Realized(const TraceGolden& golden, const Model& model, std::size_t number) {
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

Result<std::vector<std::string>> Predicted(const TraceGolden& golden, const Model& model, std::size_t number) {
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
  const TraceGolden golden = Headless(ReadTraceGolden(kGoldens, GetParam()));
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_GE(golden.passes.size(), 2u);
  for (std::size_t pass = 0; pass < golden.passes.size(); ++pass) {
    const Result<std::vector<std::string>> events = Predicted(golden, *model, pass);
    ASSERT_TRUE(events.ok()) << events.error().message;
    SCOPED_TRACE(fmt::format("pass {}", pass));
    ExpectSameEvents(*events, golden.passes[pass]);
  }
}

TEST_P(RecordedOffload, PinsAtTheAttachWhatWasPinnedThen) {
  const TraceGolden golden = Headless(ReadTraceGolden(kGoldens, GetParam()));
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

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedOffload, testing::ValuesIn(TraceGoldenNames(kGoldens)), TraceTestName);

}  // namespace
}  // namespace stowage

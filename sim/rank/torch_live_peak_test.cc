// live_peak_bytes of simulated torch passes against the recorder's peak_live_bytes, for the public models whose passes
// were recorded ($STOWAGE_SHARED/data/traces/language.json).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "planner/machine/build_machine.h"
#include "planner/realize/torch_model.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"
#include "planner/zoo/zoo.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

using Json = nlohmann::json;

Json Recorded(const std::string& shared) {
  std::ifstream file(shared + "/data/traces/language.json");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return Json::parse(text, nullptr, false);
}

// A card that holds anything, so that nothing runs out of memory before its peak.
Machine Endless() {
  Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  for (Pool& pool : machine.pools) pool.budget = Bytes(std::int64_t{1} << 45);
  return machine;
}

Result<Bytes> LivePeak(const std::string& config, const Json& request, const Machine& machine) {
  STOWAGE_TRY(const Model stored, LoadModel(config));
  const std::optional<DType> dtype = ParseDType(request.at("dtype").get<std::string>());
  STOWAGE_TRY(const Model model, AsTransformersHolds(stored, dtype));  // packed weights were unpacked
  const auto past = request.value("past", std::int64_t{0});
  Request asked;
  asked.batch = request.at("batch").get<std::int64_t>();
  asked.prompt_tokens = past > 0 ? past : request.at("tokens").get<std::int64_t>();
  asked.new_tokens = past > 0 ? 2 : 1;
  const bool sequential = request.at("offload") == "sequential";
  const Strategy strategy = sequential ? SequentialOffloadStrategy() : TorchResidentStrategy();
  STOWAGE_TRY(const Lowered lowered, strategy.lower({.model = &model, .machine = &machine, .request = asked}, ""));
  STOWAGE_TRY(const Timeline timeline, Simulate(lowered.schedule, machine));
  const PhaseTimeline* phase = FindPhase(timeline, past > 0 ? "decode" : "prefill");
  if (phase == nullptr || !phase->torch) return Error{ErrorCode::kInternal, "no peaks of the phase"};
  return phase->torch->live;
}

TEST(TorchLivePeak, IsWhatTheRecorderSawForEveryModelAndPass) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set: no recorded traces";
  const Json traces = Recorded(shared);
  ASSERT_TRUE(traces.is_object()) << "language.json cannot be read";
  const Machine machine = Endless();
  int compared = 0;
  for (const auto& [model, passes] : traces.at("models").items()) {
    for (const auto& [pass, trace] : passes.items()) {
      const Result<Bytes> live =
          LivePeak(std::string(shared) + "/data/models/" + model + ".json", trace.at("request"), machine);
      EXPECT_TRUE(live.ok()) << model << " " << pass << ": " << live.error().message;
      if (!live.ok()) continue;
      EXPECT_EQ(live->value(), trace.at("peak_live_bytes").get<std::int64_t>()) << model << " " << pass;
      ++compared;
    }
  }
  EXPECT_GE(compared, 40);
}

}  // namespace
}  // namespace stowage

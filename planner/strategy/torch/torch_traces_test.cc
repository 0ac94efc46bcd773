// RealizeTorch against the recorded traces of every family, over caches that grow and over static ones: models built from
// a config, or taken from the zoo.
#include <gtest/gtest.h>

#include <string>

#include "planner/families/families.h"
#include "planner/realize/testing/trace_golden.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_model.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

constexpr const char* kGoldens = "tests/goldens/torch_traces/families";
constexpr const char* kStatic = "tests/goldens/torch_traces/static";

Result<Model> ModelOf(const TraceGolden& golden) {
  const auto build = [&]() -> Result<Model> {
    if (golden.facts.count("config") == 0) return ZooModel(golden.facts.at("model"));
    STOWAGE_TRY(const HfConfig config, HfConfig::Parse(golden.facts.at("config"), "golden"));
    return BuildModel(config, "golden");
  };
  STOWAGE_TRY(const Model stored, build());
  STOWAGE_TRY(Model held, AsTransformersHolds(stored, ParseDType(golden.facts.at("dtype"))));
  if (golden.facts.contains("loaded")) KeepInFp32(held);
  return held;
}

void ExpectEqualEventByEvent(const TraceGolden& golden) {
  const Result<Model> model = ModelOf(golden);
  ASSERT_TRUE(model.ok()) << model.error().message;
  std::int64_t past = golden.Number("past");
  // Recordings of T5 count the decoder's positions, of which the first is no answer yet.
  const std::int64_t prompt = golden.facts.contains("prompt") ? golden.Number("prompt") : 0;
  if (prompt > 0) past += prompt - model->shape.cross_positions;
  const std::int64_t reserved = golden.facts.count("reserved") != 0 ? golden.Number("reserved") : 0;
  Result<TorchProgram> realized = RealizeTorch(*model, {.kind = past > 0 ? Pass::Kind::kDecode : Pass::Kind::kPrefill,
                                                        .batch = golden.Number("batch"),
                                                        .tokens = golden.Number("tokens"),
                                                        .past = past,
                                                        .prompt = prompt,
                                                        .reserved = reserved});
  ASSERT_TRUE(realized.ok()) << realized.error().message;
  const bool offload = golden.facts.at("offload") == "sequential";
  const TorchProgram program = offload ? AddSequentialOffloadHooks(*std::move(realized), *model) : *std::move(realized);
  const TorchTrace trace = RecorderForm(program, *model, 0, golden.Number("modules") != 0);
  ExpectSameEvents(EventLines(trace), golden.events());
  ExpectSameBytes(trace, golden);
  EXPECT_EQ(trace.parameters.value(), golden.Number("parameters_bytes"));
}

class RecordedFamily : public testing::TestWithParam<std::string> {};
TEST_P(RecordedFamily, IsEqualEventByEvent) { ExpectEqualEventByEvent(ReadTraceGolden(kGoldens, GetParam())); }

class RecordedStaticCache : public testing::TestWithParam<std::string> {};
TEST_P(RecordedStaticCache, IsEqualEventByEvent) { ExpectEqualEventByEvent(ReadTraceGolden(kStatic, GetParam())); }

INSTANTIATE_TEST_SUITE_P(Goldens, RecordedStaticCache, testing::ValuesIn(TraceGoldenNames(kStatic)), TraceTestName);
INSTANTIATE_TEST_SUITE_P(Goldens, RecordedFamily, testing::ValuesIn(TraceGoldenNames(kGoldens)), TraceTestName);

}  // namespace
}  // namespace stowage

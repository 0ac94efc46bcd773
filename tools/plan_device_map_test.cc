#include "tools/plan_device_map.h"

#include <gtest/gtest.h>

#include <fstream>

namespace stowage {
namespace {

TaskOptions Llama() { return {.model = "llama-3-8b"}; }

// The table's rows: device, given, balanced to, weights, buffers, fits.
std::string Table(const std::string& mode, const std::string& max_memory) {
  const Result<DeviceMapAnswer> answer =
      PlanDeviceMap(Llama(), "device-map:" + mode, {.max_memory = max_memory}, /*json=*/false);
  if (!answer) return answer.error().message;
  const std::size_t begin = answer->text.find("\n\n") + 2;
  return answer->text.substr(begin, answer->text.find("\n\n", begin) + 1 - begin);
}

std::string Emit(const std::string& what, DeviceMapOptions options, const std::string& mode = "auto") {
  options.emit = what;
  const Result<DeviceMapAnswer> answer = PlanDeviceMap(Llama(), "device-map:" + mode, options, /*json=*/false);
  return answer ? answer->text : answer.error().message;
}

// The worked examples of Llama-3-8B (14.96 GiB in bf16): where accelerate wastes memory.
TEST(PlanDeviceMap, GivesTheFirstOfTwoEqualCardsLessBecauseItKeepsRoomForTheHead) {
  EXPECT_EQ(Table("auto", R"({"0": "24GiB", "1": "24GiB"})"),
            "device     given  balanced to  weights  buffers  fits\n"
            "gpu0    25.77 GB      8.58 GB  7.16 GB      0 B  yes\n"
            "gpu1    25.77 GB            -  8.90 GB    512 B  yes\n");
}

TEST(PlanDeviceMap, PutsTheHeadOnTheCpuThoughTheCardsAreLargerThanTheModel) {
  EXPECT_EQ(Table("auto", R"({"0": "6GiB", "1": "10GiB", "cpu": "32GiB"})"),
            "device     given  balanced to   weights  buffers  fits\n"
            "gpu0     6.44 GB            -   4.98 GB      0 B  yes\n"
            "gpu1    10.74 GB            -  10.03 GB    512 B  yes\n"
            "cpu     34.36 GB            -   1.05 GB      0 B  yes\n");
}

TEST(PlanDeviceMap, SpillsFromUnequalCardsThatSequentialFills) {
  const std::string budgets = R"({"0": "12GiB", "1": "6GiB", "cpu": "32GiB"})";
  EXPECT_EQ(Table("auto", budgets),
            "device     given  balanced to  weights  buffers  fits\n"
            "gpu0    12.88 GB      8.58 GB  7.16 GB      0 B  yes\n"
            "gpu1     6.44 GB            -  6.11 GB      0 B  yes\n"
            "cpu     34.36 GB            -  2.80 GB    512 B  yes\n");
  EXPECT_EQ(Table("sequential", budgets),
            "device     given  balanced to   weights  buffers  fits\n"
            "gpu0    12.88 GB            -  11.52 GB      0 B  yes\n"
            "gpu1     6.44 GB            -   4.54 GB    512 B  yes\n"
            "cpu     34.36 GB            -       0 B      0 B  yes\n");
  EXPECT_EQ(Table("balanced_low_0", budgets),
            "device     given  balanced to  weights  buffers  fits\n"
            "gpu0    12.88 GB      9.62 GB  8.47 GB      0 B  yes\n"
            "gpu1     6.44 GB            -  6.11 GB      0 B  yes\n"
            "cpu     34.36 GB            -  1.49 GB    512 B  yes\n");
}

TEST(PlanDeviceMap, EmitsTheBalancedBudgetsOfEitherLibrary) {
  const DeviceMapOptions options{.max_memory = R"({"1": "24GiB", "0": "24GiB", "cpu": 5})"};
  EXPECT_EQ(Emit("max-memory", options), "{\"0\": 8575541504, \"1\": 25769803776, \"cpu\": 5}\n");
  DeviceMapOptions transformers = options;
  transformers.rules = "transformers";  // its margin knows the embedding, which is larger than a layer
  EXPECT_EQ(Emit("max-memory", transformers), "{\"0\": 9343602944, \"1\": 25769803776, \"cpu\": 5}\n");
}

TEST(PlanDeviceMap, EmitsOneEntryForAModelOnOneCard) {
  EXPECT_EQ(Emit("device-map", {.max_memory = R"({"0": "24GiB"})"}), "{\n  \"\": 0\n}\n");
  EXPECT_EQ(Emit("device-map", {.max_memory = "{}"}), "{\n  \"\": \"disk\"\n}\n");
}

TEST(PlanDeviceMap, NamesTheOptionThatIsWrong) {
  EXPECT_EQ(Emit("device-map", {.max_memory = R"({"0": "15"})"}),
            "--max-memory: device '0': \"15\" has no unit; write a number of bytes without quotes (ValueError)");
  EXPECT_EQ(Emit("device-map", {.max_memory = "{}", .special = {"lm_head.weight"}}),
            "--special-dtype: 'lm_head.weight' is not NAME=DTYPE, such as lm_head.weight=float32");
  EXPECT_EQ(Emit("device-map", {.rules = "vllm", .max_memory = "{}"}),
            "--rules: 'vllm' is neither accelerate nor transformers");
  EXPECT_EQ(Emit("device-map", {}), "--gpu or --max-memory is missing; see plan --help");
}

// infer_auto_device_map(dtype=torch.int8) counts a byte an element, whatever bitsandbytes would make of the module.
TEST(PlanDeviceMap, MapsATreeInInt8ThatNoSchemeWouldQuantize) {
  const std::string tree = testing::TempDir() + "one_weight.modules.json";
  std::ofstream(tree)
      << R"({"root": {"class": "Block", "params": [{"name": "w", "shape": [6, 1], "dtype": "float32"}]}})";
  TaskOptions task = {.model = tree};
  task.request.quantization = "int8";
  const DeviceMapOptions options = {.max_memory = R"({"0": 0, "1": 10})", .no_split = "Block", .emit = "device-map"};
  const Result<DeviceMapAnswer> answer = PlanDeviceMap(task, "device-map:sequential", options, /*json=*/false);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->text, "{\n  \"w\": 1\n}\n");
}

// Gemma3ForConditionalGeneration of transformers 5.23, whose files name these modules otherwise.
TEST(PlanDeviceMap, NamesTheModulesAsTheirClassDoes) {
  const DeviceMapOptions options = {.max_memory = R"({"0": "16GB", "1": "40GB"})", .emit = "device-map"};
  const Result<DeviceMapAnswer> answer =
      PlanDeviceMap({.model = "gemma-3-12b"}, "device-map:sequential", options, /*json=*/false);
  ASSERT_TRUE(answer) << answer.error().message;
  for (const char* name : {"model.vision_tower", "model.language_model.layers.0", "lm_head"}) {
    EXPECT_NE(answer->text.find(std::string("\"") + name), std::string::npos) << answer->text;
  }
  EXPECT_EQ(answer->text.find("\"language_model"), std::string::npos);
}

TEST(PlanDeviceMap, ChecksAMapOfTheUsersOwn) {
  const std::string path = testing::TempDir() + "/map.json";
  std::ofstream(path) << R"({"model": 0})";
  const Result<DeviceMapAnswer> partial = PlanDeviceMap(Llama(), std::nullopt, {.file = path}, false);
  ASSERT_FALSE(partial.ok());
  EXPECT_EQ(partial.error().message, path + ": the device map gives no device for lm_head.weight (ValueError)");
  std::ofstream(path) << R"({"model": 0, "lm_head": "cpu", "foo": 1})";
  const Result<DeviceMapAnswer> whole =
      PlanDeviceMap(Llama(), std::nullopt, {.file = path, .max_memory = R"({"0": "10GiB"})"}, false);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->exit_code, 1);
  EXPECT_NE(whole->text.find("- gpu0 does not fit: 15.01 GB of weights and buffers, 10.74 GB given.\n"),
            std::string::npos)
      << whole->text;
  EXPECT_NE(whole->text.find("- No module is called foo.\n"), std::string::npos) << whole->text;
}

std::string Optimal(DeviceMapOptions options, const std::string& parameters = "", bool json = false) {
  const Result<DeviceMapAnswer> answer =
      PlanDeviceMap({.model = "llama-3-8b"}, "device-map:optimal" + parameters, options, json);
  if (!answer) return answer.error().message;
  return json ? answer->text : answer->text.substr(0, answer->text.find("\n{"));
}

constexpr const char* kCounted =
    "- Counted: weights, KV cache, activations, logits, what streaming stages, CUDA context.\n";

TEST(PlanOptimal, FitsTheCardsOnWhichAcceleratesAutoSpills) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "12GiB", "1": "6GiB", "cpu": "32GiB", "disk": 0})"}),
            "device-map:optimal of llama-3-8b, best for latency\n\n"
            "device     given   weights      used  streams\n"
            "gpu0    12.88 GB  11.96 GB  12.56 GB      0 B\n"
            "gpu1     6.44 GB   4.10 GB   4.73 GB      0 B\n"
            "host    34.36 GB       0 B       0 B      0 B\n"
            "disk         0 B       0 B       0 B      0 B\n\n"
            "- 8.74 s for the request, and nothing is better: proven.\n" +
                std::string(kCounted));
}

TEST(PlanOptimal, StreamsToTheFirstCardWhatNoCardCanHold) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "6GiB", "1": "7GiB", "cpu": "32GiB", "disk": 0})"}),
            "device-map:optimal of llama-3-8b, best for latency\n\n"
            "device     given  weights     used  streams\n"
            "gpu0     6.44 GB  5.41 GB  6.44 GB  3.93 GB\n"
            "gpu1     7.52 GB  6.72 GB  7.37 GB      0 B\n"
            "host    34.36 GB  3.93 GB  3.93 GB      0 B\n"
            "disk         0 B      0 B      0 B      0 B\n\n"
            "- 89.80 s for the request, and nothing is better: proven.\n"
            "- What lies on cpu or disk is copied to a GPU for every pass.\n" +
                std::string(kCounted));
}

TEST(PlanOptimal, LetsTheCpuComputeWhereOurOwnExecutorRunsIt) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "6GiB", "1": "7GiB", "cpu": "32GiB", "disk": 0})"}, ":native"),
            "device-map:optimal:native of llama-3-8b, best for latency\n\n"
            "device     given  weights     used  streams\n"
            "gpu0     6.44 GB  5.67 GB  6.24 GB      0 B\n"
            "gpu1     7.52 GB  6.54 GB  7.12 GB      0 B\n"
            "host    34.36 GB  3.85 GB  3.86 GB      0 B\n"
            "disk         0 B      0 B      0 B      0 B\n\n"
            "- 25.67 s for the request, and nothing is better: proven.\n"
            "- The CPU computes model.embed_tokens to model.layers.3, model.norm to lm_head.\n"
            "- accelerate would run all that is on cpu or disk on gpu0 instead: this map is not for it.\n" +
                std::string(kCounted));
}

TEST(PlanOptimal, KeepsAUnitOnTheCardSoThatAccelerateUsesIt) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "15GB", "cpu": "32GiB", "disk": 0})", .objective = "memory"}),
            "device-map:optimal of llama-3-8b, best for memory\n\n"
            "device     given   weights      used   streams\n"
            "gpu0    15.00 GB   8.70 kB   1.75 GB  16.06 GB\n"
            "host    34.36 GB  16.06 GB  16.06 GB       0 B\n"
            "disk         0 B       0 B       0 B       0 B\n\n"
            "- The fullest device holds 1.75 GB, and nothing is better than 1.75 GB: a gap of 0.0 % is open.\n"
            "- What lies on cpu or disk is copied to a GPU for every pass.\n"
            "- model.norm stays on gpu0, or accelerate would not use that GPU.\n" +
                std::string(kCounted));
}

TEST(PlanOptimal, ThroughputUsesBothCardsAlike) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "24GB", "1": "24GB", "cpu": "32GiB", "disk": 0})",
                     .objective = "throughput",
                     .any_order = true}),
            "device-map:optimal of llama-3-8b, best for throughput\n\n"
            "device     given  weights     used  streams\n"
            "gpu0    24.00 GB  8.47 GB  9.05 GB      0 B\n"
            "gpu1    24.00 GB  7.59 GB  8.24 GB      0 B\n"
            "host    34.36 GB      0 B      0 B      0 B\n"
            "disk         0 B      0 B      0 B      0 B\n\n"
            "- The busiest device works 4.41 s for a request, and nothing is better: proven.\n"
            "- The model runs through gpu0, gpu1.\n" +
                std::string(kCounted));
}

TEST(PlanOptimal, EmitsAMapThatAccelerateTakes) {
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "24GB", "cpu": "32GiB"})", .emit = "device-map"}), "{\n  \"\": 0\n}\n");
}

TEST(PlanOptimal, NamesTheOptionThatIsWrong) {
  const std::string budgets = R"({"0": "15GB", "cpu": "30GB"})";
  EXPECT_EQ(Optimal({.rules = "transformers", .max_memory = budgets}),
            "--rules: device-map:optimal does not follow accelerate's rules");
  EXPECT_EQ(Optimal({.max_memory = budgets, .objective = "speed"}),
            "--objective: 'speed' is neither latency, throughput nor memory");
  EXPECT_EQ(Optimal({.max_memory = budgets}, ":fast"), "--strategy device-map:optimal:fast: only ':native' may follow");
  EXPECT_EQ(Optimal({.max_memory = R"({"1": "15GB"})"}),
            "--max-memory: device-map:optimal needs devices 0, 1, 2 and so on");
  EXPECT_EQ(Optimal({.max_memory = R"({"0": "4GiB", "cpu": 0, "disk": 0})"}),
            "no placement fits the budgets; 12.46 GB more on gpu0 (of now 4.29 GB) would do");
}

TEST(PlanDeviceMap, NamesTheStrategyThatFollowsTheMap) {
  const auto strategy = [](const std::string& mode, const DeviceMapOptions& options) {
    const Result<DeviceMapAnswer> answer = PlanDeviceMap({.model = "llama-8b"}, mode, options, false);
    return answer ? answer->strategy : answer.error().message;
  };
  const std::string budgets = R"({"0": "24GB", "cpu": "32GiB"})";
  EXPECT_EQ(strategy("device-map:auto", {.max_memory = budgets}), R"(device-map:{"": 0})");
  EXPECT_EQ(strategy("device-map:optimal:native", {.max_memory = budgets}), R"(device-map-ring:{"": 0})");
  const std::string split = strategy("device-map:sequential", {.max_memory = R"({"0": "15GB", "cpu": "32GiB"})"});
  EXPECT_EQ(split.substr(0, 47), R"(device-map:{"model.embed_tokens": 0,"model.laye)");
  EXPECT_EQ(strategy("device-map:auto", {.max_memory = budgets, .emit = "max-memory"}), "");
}

TEST(WantsDeviceMap, LeavesOtherStrategiesAloneAndRefusesStrayOptions) {
  EXPECT_FALSE(*WantsDeviceMap("ring", {}));
  EXPECT_TRUE(*WantsDeviceMap("device-map:optimal", {.objective = "memory"}));
  EXPECT_FALSE(WantsDeviceMap("device-map:auto", {.objective = "memory"}).ok());
  EXPECT_TRUE(*WantsDeviceMap("device-map:balanced_low_0", {}));
  EXPECT_FALSE(WantsDeviceMap("device-map:best", {}).ok());
  EXPECT_FALSE(WantsDeviceMap("ring", {.no_split = ""}).ok());
  EXPECT_FALSE(WantsDeviceMap("device-map:auto", {.emit = "map"}).ok());
}

}  // namespace
}  // namespace stowage

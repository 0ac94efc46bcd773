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

TEST(WantsDeviceMap, LeavesOtherStrategiesAloneAndRefusesStrayOptions) {
  EXPECT_FALSE(*WantsDeviceMap("ring", {}));
  EXPECT_FALSE(*WantsDeviceMap("device-map:optimal", {}));
  EXPECT_TRUE(*WantsDeviceMap("device-map:balanced_low_0", {}));
  EXPECT_FALSE(WantsDeviceMap("device-map:best", {}).ok());
  EXPECT_FALSE(WantsDeviceMap("ring", {.no_split = ""}).ok());
  EXPECT_FALSE(WantsDeviceMap("device-map:auto", {.emit = "map"}).ok());
}

}  // namespace
}  // namespace stowage

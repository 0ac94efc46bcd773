#include "planner/solve/accelerate/budgets.h"

#include <gtest/gtest.h>

#include "planner/solve/accelerate/device_map.h"

namespace stowage::accelerate {
namespace {

std::string Read(const std::string& json) {
  const Result<MaxMemory> budgets = ReadMaxMemory(json);
  return budgets ? WriteMaxMemory(*budgets) : budgets.error().message;
}

TEST(ReadMaxMemory, SortsDevicesAndReadsSizesAsAccelerateDoes) {
  EXPECT_EQ(Read(R"({"cpu": "30GB", "10": "15gib", "2": 7, "disk": "1KB", "0": -5})"),
            R"({"0": -5, "2": 7, "10": 16106127360, "cpu": 30000000000, "disk": 1000})");
  EXPECT_EQ(Read("{}"), "{}");
  EXPECT_EQ(Read(R"({"0": 1.5e3})"), R"({"0": 1500.0})");
}

TEST(ReadMaxMemory, NamesTheDeviceAndWhatIsWrong) {
  EXPECT_EQ(Read(R"({"cuda:0": 1})"),
            "device 'cuda:0' is not known: accelerators are numbers (0, 1, …), the others 'mps', 'cpu' and 'disk' "
            "(ValueError)");
  EXPECT_EQ(Read(R"({"0": "15"})"),
            "device '0': \"15\" has no unit; write a number of bytes without quotes (ValueError)");
  EXPECT_EQ(Read(R"({"0": null})"), "device '0': null is neither bytes nor a size such as \"15GB\"");
  EXPECT_EQ(Read("[]"), "'[]' is not a JSON object such as {\"0\": \"15GB\", \"cpu\": \"30GB\"}");
  EXPECT_FALSE(ReadMaxMemory(R"({"0": "-1GB"})").ok());
  EXPECT_FALSE(ReadMaxMemory(R"({"00": 1})").ok());
  EXPECT_FALSE(ReadMaxMemory(R"({"0": 99999999999999999999})").ok() &&
               !(*ReadMaxMemory(R"({"0": 99999999999999999999})"))[0].second.is_float());
}

TEST(Number, IsAnIntegerUntilAFloatMeetsIt) {
  EXPECT_EQ((Number::Int(3) + Number::Int(4)).Text(), "7");
  EXPECT_EQ((Number::Int(3) + Number::Float(0.5)).Text(), "3.5");
  EXPECT_EQ((Number::Int(16) * Number::Float(0.125)).Text(), "2.0");
  EXPECT_EQ(FloorDivide(Number::Float(7.5), 2).Text(), "3.0");
  EXPECT_EQ(FloorDivide(Number::Int(-7), 2).Text(), "-4");
  EXPECT_TRUE(Number::Int(1) == Number::Float(1));
  // 2^53 + 1 has no double of its own.
  EXPECT_TRUE(Number::Int(9007199254740993) > Number::Float(9007199254740992.0));
}

TEST(CleanDeviceMap, JoinsSeveralEntriesOnOneDeviceFromTheTop) {
  const DeviceKey zero{}, one{DeviceKind::kAccelerator, 1};
  EXPECT_EQ(CleanDeviceMap({{"a.x", zero}, {"a.y", zero}, {"b", zero}}), (DeviceMap{{"", zero}}));
  EXPECT_EQ(CleanDeviceMap({{"a.x", zero}, {"a.y", zero}, {"b", one}}), (DeviceMap{{"a", zero}, {"b", one}}));
  EXPECT_EQ(CleanDeviceMap({{"a.x", zero}}), (DeviceMap{{"a.x", zero}}));
  EXPECT_EQ(CleanDeviceMap({{"a.1.p", one}, {"a.1.q", one}, {"a.10", zero}}),
            (DeviceMap{{"a.1", one}, {"a.10", zero}}));
}

TEST(TakeOtherNames, FindsTheSameModuleUnderTheNameThatTheTreeHas) {
  PlacementTree vit, gemma;
  for (const char* name : {"", "vit.encoder", "vit.encoder.layer", "vit.encoder.layer.1", "classifier"}) {
    vit.nodes.push_back({.name = name});
  }
  DeviceMap map = *ReadDeviceMap(R"({"vit.layers.1": 0, "classifier": 1, "nothing": "cpu"})");
  TakeOtherNames(vit, map);
  EXPECT_EQ(map, *ReadDeviceMap(R"({"vit.encoder.layer.1": 0, "classifier": 1, "nothing": "cpu"})"));
  for (const char* name : {"", "model.vision_tower", "model.language_model.layers.0", "lm_head"}) {
    gemma.nodes.push_back({.name = name});
  }
  map = *ReadDeviceMap(R"({"vision_tower": 0, "language_model.model.layers.0": 1, "language_model.lm_head": 2})");
  TakeOtherNames(gemma, map);
  EXPECT_EQ(map, *ReadDeviceMap(R"({"model.vision_tower": 0, "model.language_model.layers.0": 1, "lm_head": 2})"));
}

TEST(ReadDeviceMap, TakesDevicesAsTorchSpellsThem) {
  const Result<DeviceMap> map = ReadDeviceMap(R"({"a": 0, "b": "cuda:1", "c": "2", "d": "cpu", "e": "disk"})");
  ASSERT_TRUE(map.ok()) << map.error().message;
  EXPECT_EQ(Name(map->at("b")), "1");
  EXPECT_EQ(Name(map->at("c")), "2");
  EXPECT_EQ(Name(map->at("e")), "disk");
  EXPECT_EQ(ReadDeviceMap(R"({"a": 1.5})").error().message,
            "entry \"a\": 1.5 is not a device (0, 1, …, \"cpu\", \"disk\")");
}

}  // namespace
}  // namespace stowage::accelerate

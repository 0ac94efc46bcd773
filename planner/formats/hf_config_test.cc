#include "planner/formats/hf_config.h"

#include <gtest/gtest.h>

#include <string>

namespace stowage {
namespace {

HfConfig Config(const char* text) { return *HfConfig::Parse(text, "config.json"); }

TEST(HfConfig, NamesFileKeyValueAndRange) {
  const HfConfig c =
      Config(R"({"a": -3, "b": "x", "c": 1.5, "d": 99999999999999999999, "e": null, "f": [1], "g": {"h": 0}})");
  EXPECT_EQ(c.Int("a", {1, 8}).error().message, "config.json: a is -3, must be in [1, 8]");
  EXPECT_EQ(c.Int("b", {1, 8}).error().message, "config.json: b is \"x\", not an integer");
  EXPECT_EQ(c.Int("c", {1, 8}).error().message, "config.json: c is 1.5, not an integer");
  EXPECT_EQ(c.Int("d", {1, 8}).error().message, "config.json: d is 1e+20, not an integer");
  EXPECT_EQ(c.Int("e", {1, 8}).error().message, "config.json: e is missing");
  EXPECT_EQ(c.Int("nothing", {1, 8}).error().message, "config.json: nothing is missing");
  EXPECT_EQ(c.BoolOr("a", false).error().message, "config.json: a is -3, not true or false");
  EXPECT_EQ(c.StringsOr("f").error().message, "config.json: f holds 1, not a string");
  EXPECT_EQ(c.ObjectOr("a").error().message, "config.json: a is -3, not an object");
  EXPECT_EQ(c.ObjectOr("g")->Number("h", {1, 2}).error().message, "config.json: g.h is 0, must be in [1, 2]");
}

TEST(HfConfig, TreatsNullAsAbsent) {
  const HfConfig c = Config(R"({"e": null})");
  EXPECT_FALSE(c.Has("e"));
  EXPECT_EQ(*c.IntOr("e", 7, {1, 8}), 7);
  EXPECT_FALSE(c.ObjectOr("e")->Has("x"));
}

TEST(HfConfig, RefusesTextThatIsNoObject) {
  EXPECT_EQ(HfConfig::Parse("{", "config.json").error().message, "config.json: is not valid JSON");
  EXPECT_EQ(HfConfig::Parse("[]", "config.json").error().message, "config.json: is JSON but not an object");
  EXPECT_FALSE(HfConfig::Parse(std::string(1 << 20, '['), "config.json"));
}

}  // namespace
}  // namespace stowage

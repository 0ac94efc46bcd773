// What accelerate 1.15 and transformers 5.23 answered for real architectures and random trees, made by
// tests/peer/device_maps.py --goldens.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/peer/device_map_case.h"

namespace stowage {
namespace {

using nlohmann::json;

TEST(DeviceMaps, AreThoseOfAccelerateAndTransformers) {
  std::ifstream file("tests/goldens/device_maps/device_maps.jsonl");
  int cases = 0;
  for (std::string line; std::getline(file, line);) {
    const json golden = json::parse(line);
    for (json test : golden["cases"]) {
      const json want = test["want"];
      test.erase("want");
      test["tree"] = golden["tree"];
      json got = json::parse(RunDeviceMapCase(test.dump()));
      got.erase("sizes");
      test.erase("tree");
      EXPECT_EQ(got, want) << golden["name"] << ": " << test;
      ++cases;
    }
  }
  EXPECT_GT(cases, 400);
}

}  // namespace
}  // namespace stowage

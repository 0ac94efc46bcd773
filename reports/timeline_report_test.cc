#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "reports/comparison.h"
#include "reports/timeline_json.h"
#include "reports/timeline_text.h"

namespace stowage {
namespace {

// Two passes over one card, small enough to check by hand.
Timeline SmallTimeline() {
  Timeline t;
  t.phases = {{.phase = "load", .iterations = 1, .start = Seconds(0), .seconds = Seconds(2)},
              {.phase = "prefill", .iterations = 1, .start = Seconds(2), .seconds = Seconds(0.5)},
              {.phase = "decode", .iterations = 7, .start = Seconds(2.5), .seconds = Seconds(3.5)}};
  const Peak gpu{.bytes = Bytes(1'000'000),
                 .at = Seconds(2.25),
                 .step = "layer 3 mlp.up",
                 .phase = "prefill",
                 .buffers = {{"model.embed_tokens.weight", "weights", Bytes(400'000)},
                             {"model.layers.3", "weights", Bytes(300'000)},
                             {"CUDA context", "context", Bytes(200'000)},
                             {"keys", "kv", Bytes(60'000)},
                             {"values", "kv", Bytes(40'000)}}};
  t.pools = {{.pool = "gpu0", .budget = Bytes(1'250'000), .peak = gpu, .curve = {}},
             {.pool = "host", .budget = Bytes(4'000'000), .peak = {}, .curve = {}}};
  t.resources = {{.resource = "gpu0.sm",
                  .busy = Seconds(1.5),
                  .idle = Seconds(4.5),
                  .idle_causes = {{"nothing left to do", Seconds(0.5)},
                                  {"waiting for copy", Seconds(4)},
                                  {"waiting for the issuer", Seconds(0)}}},
                 {.resource = "gpu0.h2d", .busy = Seconds(6), .idle = Seconds(0), .idle_causes = {}}};
  t.length = Seconds(6);
  return t;
}

TEST(TimelineJson, HasTheFormOfSimulate) {
  Timeline t = SmallTimeline();
  t.torch = TorchMemory{Bytes(900'000), Bytes(2'097'152), Bytes(0)};
  EXPECT_EQ(TimelineJson(t), R"({
  "peak_bytes": {
    "gpu0": 1000000,
    "host": 0
  },
  "peak": {
    "gpu0": {
      "step": "layer 3 mlp.up",
      "phase": "prefill",
      "buffers": [
        {
          "name": "model.embed_tokens.weight",
          "kind": "weights",
          "bytes": 400000
        },
        {
          "name": "model.layers.3",
          "kind": "weights",
          "bytes": 300000
        },
        {
          "name": "CUDA context",
          "kind": "context",
          "bytes": 200000
        },
        {
          "name": "keys",
          "kind": "kv",
          "bytes": 60000
        },
        {
          "name": "values",
          "kind": "kv",
          "bytes": 40000
        }
      ]
    },
    "host": {
      "step": "",
      "phase": "",
      "buffers": []
    }
  },
  "phases": [
    {
      "name": "load",
      "iterations": 1,
      "seconds": 2.0
    },
    {
      "name": "prefill",
      "iterations": 1,
      "seconds": 0.5
    },
    {
      "name": "decode",
      "iterations": 7,
      "seconds": 3.5
    }
  ],
  "resources": {
    "gpu0.sm": {
      "busy_s": 1.5,
      "idle_s": 4.5,
      "idle_causes": {
        "nothing left to do": 0.5,
        "waiting for copy": 4.0,
        "waiting for the issuer": 0.0
      }
    },
    "gpu0.h2d": {
      "busy_s": 6.0,
      "idle_s": 0.0,
      "idle_causes": {}
    }
  },
  "torch": {
    "allocated_peak_bytes": 900000,
    "reserved_peak_bytes": 2097152,
    "pinned_bytes": 0
  }
}
)");
}

TEST(TimelineJson, LeavesOutTorchAndNamesTheStepThatRanOutOfMemory) {
  Timeline t;
  t.out_of_memory = OutOfMemory{"gpu0", "allocate up", "prefill", Bytes(9'007'199'254'740'993), Bytes(7)};
  EXPECT_EQ(TimelineJson(t), R"({
  "peak_bytes": {},
  "peak": {},
  "phases": [],
  "resources": {},
  "out_of_memory": {
    "pool": "gpu0",
    "step": "allocate up",
    "phase": "prefill",
    "requested_bytes": 9007199254740993,
    "available_bytes": 7
  }
}
)");
}

TEST(TimelineJson, KeepsBytesExactAndSurvivesNamesThatAreNoText) {
  Timeline t;
  t.pools = {{.pool = "gpu\xff", .budget = Bytes(1), .peak = {}, .curve = {}}};
  t.pools[0].peak.bytes = Bytes(std::numeric_limits<std::int64_t>::max());
  t.phases = {{.phase = "decode", .iterations = 1, .start = {}, .seconds = Seconds(0.1)}};
  const auto json = nlohmann::json::parse(TimelineJson(t), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["peak_bytes"]["gpu\xEF\xBF\xBD"].get<std::int64_t>(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(json["phases"][0]["seconds"].get<double>(), 0.1);
}

TEST(ExecuteJson, PutsTokensBeforeTheTwoTimelines) {
  const auto json = nlohmann::ordered_json::parse(ExecuteJson(std::vector<std::int64_t>{5, 6}, SmallTimeline(), {}));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"tokens", "predicted", "measured"}));
  EXPECT_EQ(json["tokens"].dump(), "[5,6]");
  EXPECT_EQ(json["predicted"].dump(2) + "\n", TimelineJson(SmallTimeline()));
  EXPECT_EQ(json["measured"].dump(2) + "\n", TimelineJson({}));
}

TEST(TimelineText, FitsOnOneScreen) {
  EXPECT_EQ(
      TimelineText(SmallTimeline(),
                   {.batch = 2, .prompt_tokens = 100, .new_tokens = 8, .dtype = std::nullopt, .all_logits = false}, {}),
      "pool     peak   budget    used  reached in\n"
      "gpu0  1.00 MB  1.25 MB  80.0 %  prefill, layer 3 mlp.up\n"
      "host      0 B  4.00 MB   0.0 %\n"
      "  gpu0: weights 700.0 kB, context 200.0 kB, kv 100.0 kB; largest: model.embed_tokens.weight 400.0 kB, "
      "model.layers.3 300.0 kB, CUDA context 200.0 kB\n"
      "\n"
      "phase    passes      time    a pass  tokens/s\n"
      "load          1    2.00 s    2.00 s\n"
      "prefill       1  500.0 ms  500.0 ms       400\n"
      "decode        7    3.50 s  500.0 ms         4\n"
      "total              6.00 s\n"
      "\n"
      "resource    busy             idle  because\n"
      "gpu0.sm   1.50 s   25.0 %  4.50 s  waiting for copy 4.00 s, nothing left to do 500.0 ms\n"
      "gpu0.h2d  6.00 s  100.0 %     0 s\n");
}

TEST(TimelineText, SaysFirstThatMemoryRanOut) {
  Timeline t;
  t.torch = TorchMemory{Bytes(900'000), Bytes(2'097'152), Bytes(0)};
  t.out_of_memory = OutOfMemory{"gpu0", "allocate up", "prefill", Bytes(5'000'000), Bytes(7'000)};
  EXPECT_EQ(TimelineText(t, {}, {}),
            "out of memory: allocate up in prefill asks gpu0 for 5.00 MB, 7.00 kB are left\n"
            "\n"
            "pool  peak  budget  used  reached in\n"
            "  torch: allocated 900.0 kB, reserved 2.10 MB, pinned 0 B\n"
            "\n"
            "phase  passes  time  a pass  tokens/s\n"
            "total           0 s\n"
            "\n"
            "resource  busy    idle  because\n");
}

TEST(TimelineText, ColoursChangeNothingElse) {
  const auto without_escapes = [](std::string text) {
    for (std::size_t at = text.find('\x1b'); at != std::string::npos; at = text.find('\x1b')) {
      text.erase(at, text.find('m', at) - at + 1);
    }
    return text;
  };
  const std::string coloured = TimelineText(SmallTimeline(), {}, {.colour = true});
  EXPECT_NE(coloured.find("\x1b[1mpool"), std::string::npos);
  EXPECT_EQ(without_escapes(coloured), TimelineText(SmallTimeline(), {}, {}));
}

TEST(Comparison, PutsMeasuredBesidePredicted) {
  Timeline measured = SmallTimeline();
  measured.pools[0].peak.bytes = Bytes(1'000'512);
  measured.phases[2].seconds = Seconds(3.85);
  measured.resources[0] = {.resource = "gpu0.sm", .busy = Seconds(1.6), .idle = Seconds(4.75), .idle_causes = {}};
  measured.length = Seconds(6.35);
  EXPECT_EQ(ComparisonText(Compare(SmallTimeline(), measured), false),
            "pool  predicted bytes  measured bytes  difference\n"
            "gpu0        1,000,000       1,000,512         512\n"
            "host                0               0           0\n"
            "\n"
            "phase    predicted  measured  ratio\n"
            "load        2.00 s    2.00 s  1.000\n"
            "prefill   500.0 ms  500.0 ms  1.000\n"
            "decode      3.50 s    3.85 s  1.100\n"
            "total       6.00 s    6.35 s  1.058\n"
            "\n"
            "resource  busy predicted  measured  idle predicted  measured\n"
            "gpu0.sm           1.50 s    1.60 s          4.50 s    4.75 s\n"
            "gpu0.h2d          6.00 s    6.00 s             0 s       0 s\n");
}

TEST(Comparison, ShowsWhatOnlyOneSideHas) {
  Timeline measured = SmallTimeline();
  measured.pools.pop_back();
  measured.phases.push_back({.phase = "teardown", .iterations = 1, .start = Seconds(6), .seconds = Seconds(1)});
  measured.resources.erase(measured.resources.begin());
  EXPECT_EQ(ComparisonText(Compare(SmallTimeline(), measured), false),
            "pool  predicted bytes  measured bytes  difference\n"
            "gpu0        1,000,000       1,000,000           0\n"
            "host                0               -           -\n"
            "\n"
            "phase     predicted  measured  ratio\n"
            "load         2.00 s    2.00 s  1.000\n"
            "prefill    500.0 ms  500.0 ms  1.000\n"
            "decode       3.50 s    3.50 s  1.000\n"
            "teardown          -    1.00 s      -\n"
            "total        6.00 s    6.00 s  1.000\n"
            "\n"
            "resource  busy predicted  measured  idle predicted  measured\n"
            "gpu0.sm           1.50 s         -          4.50 s         -\n"
            "gpu0.h2d          6.00 s    6.00 s             0 s       0 s\n");
}

}  // namespace
}  // namespace stowage

#include "tools/kv_report.h"

#include <gtest/gtest.h>

#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

TEST(KvReport, OfLlama8B) {
  const auto report = MakeKvReport(*ZooModel("llama-8b"), {.batch = 2});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(KvText(*report),
            "model      llama-3.1-8b (llama)\n"
            "per token  131.1 kB in bf16: 32 layers x 4,096 B of keys and values\n"
            "request    167.5 MB for batch 2 x 639 positions (512 prompt, 128 new; the last is never cached)\n"
            "layers  attention  positions     bytes\n"
            "    32  full             639  167.5 MB\n");
  EXPECT_EQ(report->Total(), Bytes(2LL * 639 * 32 * 4096));
}

TEST(KvReport, PackedCachesAreLlamaCpps) {
  const auto report =
      MakeKvReport(*ZooModel("llama-8b"), {.prompt_tokens = 32'769, .new_tokens = 0, .dtype = DType::kQ8_0});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->Total() - report->PerToken(), Bytes(2176LL << 20));  // llama.cpp's own figure at 32768 positions
}

TEST(KvReport, JsonHasTheRequestAndTheKinds) {
  const auto report = MakeKvReport(*ZooModel("llama-1b"), {});  // 16 layers, 8 heads of 64
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(KvJson(*report), R"({
  "model": "llama-3.2-1b",
  "family": "llama",
  "dtype": "bf16",
  "kv_bytes_per_token": 32768,
  "batch": 1,
  "positions": 639,
  "kv_bytes": 20938752,
  "kinds": [
    {
      "kind": "full",
      "storage": "keys and values",
      "window": null,
      "layers": 16,
      "bytes_per_token": 32768,
      "positions": 639,
      "bytes": 20938752
    }
  ]
}
)");
}

TEST(KvReport, WithoutAShapeItSaysSo) {
  Model model;
  model.name = "x";
  model.family = "gguf/mamba";
  EXPECT_EQ(MakeKvReport(model, {}).error().message,
            "x: the key-value cache of family 'gguf/mamba' is not known: weights only");
}

}  // namespace
}  // namespace stowage

#include "tools/kv_report.h"

#include <gtest/gtest.h>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
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

// Before any window is full: published figures of each model's layers, heads and widths; MLA as transformers 5.23 keeps
// it, a latent of 512 and a rotary key of 64 in each of 61 layers.
TEST(KvReport, BytesPerTokenAreThePublishedOnes) {
  struct Row {
    const char* model;
    std::int64_t bytes;
  };
  for (const Row& row : {Row{"llama-2-7b", 524'288}, Row{"llama-70b", 327'680}, Row{"mistral-7b", 131'072},
                         Row{"qwen2.5-72b", 327'680}, Row{"qwen3-30b-a3b", 98'304}, Row{"gpt-oss-20b", 49'152},
                         Row{"gpt-oss-120b", 73'728}, Row{"deepseek-v3", 70'272}}) {
    const auto model = ZooModel(row.model);
    ASSERT_TRUE(model) << model.error().message;
    const auto report = MakeKvReport(*model, {});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->PerToken(), Bytes(row.bytes)) << row.model;
  }
}

// 21 of 42 layers keep 4,096 positions: 5.9 GiB instead of 10.5.
TEST(KvReport, SlidingLayersOfGemma2KeepTheirWindow) {
  Model model = *ZooModel("gemma-2-9b");
  SetDType(model, DType::kBF16);
  const auto report = MakeKvReport(model, {.prompt_tokens = 32'768, .new_tokens = 1});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(KvText(*report),
            "model      gemma-2-9b (gemma2)\n"
            "per token  344.1 kB in bf16: 42 layers x 8,192 B of keys and values\n"
            "request    6.34 GB for batch 1 x 32,768 positions (32,768 prompt, 1 new; the last is never cached)\n"
            "layers  attention      positions     bytes\n"
            "    21  sliding 4,096      4,096  704.6 MB\n"
            "    21  full              32,768   5.64 GB\n");
}

// Of each kind of window the layers, the positions kept of 20,000, and the bytes of a layer and position.
TEST(KvReport, PatternsOfWindowsAndChunks) {
  struct Row {
    const char* model;
    std::int64_t window, layers, full_layers, layer_bytes;
  };
  for (const Row& row : {Row{"gpt-oss-20b", 128, 12, 12, 2048}, Row{"gemma-3-1b", 512, 22, 4, 1024},
                         Row{"llama-4-scout", 8192, 36, 12, 4096}}) {
    const auto model = ZooModel(row.model);
    ASSERT_TRUE(model) << model.error().message;
    const auto report = MakeKvReport(*model, {.prompt_tokens = 20'000, .new_tokens = 0});
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->kinds.size(), 2U) << row.model;
    EXPECT_EQ(report->layer_per_token, Bytes(row.layer_bytes)) << row.model;
    for (const KvKind& kind : report->kinds) {
      EXPECT_EQ(kind.layers, kind.window > 0 ? row.layers : row.full_layers) << row.model;
      EXPECT_EQ(kind.positions, kind.window > 0 ? row.window : 20'000) << row.model;
      EXPECT_EQ(kind.bytes, kind.layers * kind.positions * report->layer_per_token) << row.model;
    }
  }
}

TEST(KvReport, LayersThatShareACacheHaveNone) {
  const auto model = BuildModel(*HfConfig::Parse(R"({"model_type": "gemma2", "num_hidden_layers": 4,
      "num_kv_shared_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
      "vocab_size": 100, "intermediate_size": 64, "sliding_window": 8, "dtype": "bfloat16"})",
                                                 "config.json"),
                                "tiny");
  ASSERT_TRUE(model) << model.error().message;
  const auto report = MakeKvReport(*model, {.prompt_tokens = 16, .new_tokens = 0});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(KvText(*report),
            "model      tiny (gemma2)\n"
            "per token  256 B in bf16: 2 layers x 128 B of keys and values\n"
            "request    3.07 kB for batch 1 x 16 positions (16 prompt, 0 new; the last is never cached)\n"
            "layers  attention           positions    bytes\n"
            "     1  sliding 8                   8  1.02 kB\n"
            "     1  full                       16  2.05 kB\n"
            "     2  an earlier layer's          0      0 B\n");
  EXPECT_EQ(CacheBytes(*model, 16), report->Total());
}

// A scheme of the weights leaves the cache in what the model computes with.
TEST(KvReport, CachesOfAQuantizedModelKeepItsDType) {
  Model model = *ZooModel("llama-8b");
  model.tensors[0].dtype = DType::kQ4_K;
  model.compute_dtype = DType::kBF16;
  EXPECT_EQ(MakeKvReport(model, {})->PerToken(), Bytes(131'072));
}

TEST(KvReport, PackedCachesAreLlamaCpps) {
  const auto report =
      MakeKvReport(*ZooModel("llama-8b"), {.prompt_tokens = 32'769, .new_tokens = 0, .dtype = DType::kQ8_0});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->Total() - report->PerToken(), Bytes(2176LL << 20));  // llama.cpp's own figure at 32768 positions
}

TEST(KvReport, WithoutACacheNothingIsKept) {
  const auto report = MakeKvReport(*ZooModel("llama-1b"), {.kv = KvCache::kNone});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->Total(), Bytes(0));
  EXPECT_EQ(KvText(*report),
            "model      llama-3.2-1b (llama)\n"
            "per token  32.77 kB in bf16: 16 layers x 2,048 B of keys and values\n"
            "request    nothing is cached (--kv none): each new token is a pass over the whole context\n");
}

TEST(KvReport, OfADynamicCacheSaysThatItGrowsByCopying) {
  const std::string text = KvText(*MakeKvReport(*ZooModel("llama-1b"), {.kv = KvCache::kDynamic}));
  EXPECT_NE(text.find("dynamic    the same positions; while a layer's cache grows, its old and its new copy are both "
                      "there\n"),
            std::string::npos)
      << text;
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
  "kv": "static",
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
  ],
  "transformers": {
    "kv_bytes_per_token": 32768,
    "kv_bytes": 20938752
  }
}
)");
}

TEST(KvReport, SaysWhatTransformersStoresWhereItRepeatsHeads) {
  const auto report = MakeKvReport(*ZooModel("falcon-40b"), {});  // 8 of 128 heads have keys and values of their own
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(KvText(*report),
            "model      falcon-40b (falcon)\n"
            "per token  122.9 kB in bf16: 60 layers x 2,048 B of keys and values\n"
            "request    78.52 MB for batch 1 x 639 positions (512 prompt, 128 new; the last is never cached)\n"
            "stored     1.97 MB per token, 1.26 GB for the request by transformers, which repeats each head 16 times "
            "first\n"
            "layers  attention  positions     bytes\n"
            "    60  full             639  78.52 MB\n");
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

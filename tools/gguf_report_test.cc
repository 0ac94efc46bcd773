#include "tools/gguf_report.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "planner/formats/gguf_writer.h"

namespace stowage {
namespace {

GgufHeader Example() {
  const std::string file = GgufWriter()
                               .String("general.architecture", "llama")
                               .U32("llama.block_count", 3)
                               .F32("nan", std::numeric_limits<float>::quiet_NaN())
                               .Array("counts", GgufType::kU8, 10, "\1\2\3\4\5\6\7\x8\x9\xa")
                               .Array("words", GgufType::kString, 1, GgufWriter::Text("a"))
                               .Array("none", GgufType::kI32, 0, "")
                               .String("bytes", "\xff\"")
                               .Tensor("blk.0.attn_q.weight", {64, 2}, 8, 0)
                               .Tensor("tab\there", {1}, 0, 160)
                               .File(164);
  return *ParseGgufHeader(file, static_cast<std::int64_t>(file.size()), "f");
}

TEST(GgufReport, TextShowsMetadataThenTensors) {
  EXPECT_EQ(GgufHeaderText(Example()), R"(GGUF version 3, 2 tensors, data from byte 384, aligned to 32
general.architecture = "llama"
llama.block_count = 3
nan = null
counts = [1, 2, 3, 4, 5, 6, 7, 8, ... 10 in all]
words = 1 of string
none = []
bytes = "�\""
offset  bytes  dtype    name                 shape
   384    136  q8_0     blk.0.attn_q.weight  [2, 64]
   544      4  fp32     tab?here             [1]
)");
}

TEST(GgufReport, JsonIsValidWhateverTheFileHolds) {
  const auto json = nlohmann::json::parse(GgufHeaderJson(Example()), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["version"], 3);
  EXPECT_EQ(json["metadata"]["counts"].size(), 10U);
  EXPECT_TRUE(json["metadata"]["nan"].is_null());
  EXPECT_EQ(json["metadata"]["words"].dump(), R"({"count":1,"type":"string"})");
  EXPECT_EQ(json["tensors"][0].dump(),
            R"({"bytes":136,"dtype":"q8_0","name":"blk.0.attn_q.weight","offset":384,"shape":[2,64]})");
  EXPECT_EQ(json["tensors"][1]["name"], "tab\there");
}

}  // namespace
}  // namespace stowage

#include "exec/weights/writer/safetensors_writer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "planner/formats/checkpoint.h"
#include "planner/formats/file.h"
#include "planner/formats/safetensors.h"

namespace stowage {
namespace {

using Shards = std::vector<std::vector<std::size_t>>;

// Byte i of the tensor is (seed + i) mod 256.
TensorToWrite Counting(std::string name, DType dtype, Shape shape, int seed) {
  return {std::move(name), dtype, std::move(shape), [seed](std::int64_t offset, std::span<std::byte> to) {
            for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::byte>(seed + offset + i);
          }};
}

std::string Folder(const char* name) {
  const std::string path = JoinPath(testing::TempDir(), name);
  EXPECT_EQ(::system(("rm -rf " + path + " && mkdir -p " + path).c_str()), 0);
  return path;
}

TEST(SafetensorsWriter, OrdersByWidthThenNameAndPadsTheHeader) {
  const std::string path = JoinPath(Folder("order"), "x.safetensors");
  ASSERT_TRUE(WriteSafetensors(path,
                               {Counting("b", DType::kF16, {2}, 10), Counting("a\"", DType::kF16, {1}, 20),
                                Counting("z", DType::kF32, {1}, 30), Counting("empty", DType::kU8, {0}, 0)},
                               {{"format", "pt"}}));
  const InputFile file = *InputFile::Open(path);
  EXPECT_EQ(*file.Read(8, file.size() - 8),
            "{\"__metadata__\":{\"format\":\"pt\"},\"z\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            "\"a\\\"\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[4,6]},"
            "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[6,10]},"
            "\"empty\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[10,10]}}    "
            "\x1E\x1F\x20\x21\x14\x15\x0A\x0B\x0C\x0D");
  const Result<SafetensorsHeader> header = ReadSafetensorsHeader(path);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->data_begin % 8, 0);
  EXPECT_EQ(header->tensors[1].name, "a\"");
}

TEST(SafetensorsWriter, WritesTensorsLargerThanAPiece) {
  const std::string path = JoinPath(Folder("large"), "x.safetensors");
  const std::int64_t n = (4 << 20) + 4099;
  ASSERT_TRUE(WriteSafetensors(path, {Counting("x", DType::kU8, {n}, 5)}, {}));
  const SafetensorsHeader header = *ReadSafetensorsHeader(path);
  const std::string data = *InputFile::Open(path)->Read(header.data_begin, n);
  for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(data[i], static_cast<char>(5 + i)) << i;
}

TEST(SplitIntoShards, OpensANewShardWhenTheNextTensorWouldPassTheLimit) {
  EXPECT_EQ(SplitIntoShards({6, 6, 2, 6, 2, 2}, 10), (Shards{{0}, {1, 2}, {3, 4, 5}}));
  EXPECT_EQ(SplitIntoShards({5, 5}, 10), (Shards{{0, 1}}));
  EXPECT_EQ(SplitIntoShards({}, 10), Shards{});
}

TEST(SplitIntoShards, PutsAnOversizedTensorBeforeTheShardBeingFilled) {
  EXPECT_EQ(SplitIntoShards({3, 20, 3}, 10), (Shards{{1}, {0, 2}}));
}

TEST(WriteCheckpoint, ShardsReadBackAsOneCheckpoint) {
  const std::string folder = Folder("shards");
  const auto names = WriteCheckpoint(
      folder, {Counting("c", DType::kU8, {6}, 1), Counting("a", DType::kU8, {6}, 2), Counting("b", DType::kU8, {2}, 3)},
      10);
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(*names, (std::vector<std::string>{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                              "model.safetensors.index.json"}));
  EXPECT_EQ(*ReadTextFile(JoinPath(folder, names->back()), 10000),
            "{\n  \"metadata\": {\n    \"total_size\": 14\n  },\n  \"weight_map\": {\n"
            "    \"a\": \"model-00002-of-00002.safetensors\",\n    \"b\": \"model-00002-of-00002.safetensors\",\n"
            "    \"c\": \"model-00001-of-00002.safetensors\"\n  }\n}\n");
  const Result<Checkpoint> back = ReadCheckpoint(*FindCheckpoint(folder));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->tensors.size(), 3u);
}

TEST(SafetensorsWriter, AFailureNamesTheFileAndLeavesNothing) {
  const std::string path = "/nonexistent-folder/x.safetensors";
  const Status status = WriteSafetensors(path, {Counting("x", DType::kU8, {1}, 0)}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_EQ(status.error().message, path + ".partial: cannot create: No such file or directory");
}

}  // namespace
}  // namespace stowage

#include "planner/formats/gguf_checkpoint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "planner/formats/file.h"
#include "planner/formats/gguf_writer.h"

namespace stowage {
namespace {

std::string Write(const std::string& name, const std::string& bytes) {
  std::string path = JoinPath(testing::TempDir(), name);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
  return path;
}

std::string Part(int number, int count, const std::string& tensor) {
  return GgufWriter()
      .Pair("split.no", GgufType::kU16, GgufWriter::Number(static_cast<std::uint16_t>(number)))
      .Pair("split.count", GgufType::kU16, GgufWriter::Number(static_cast<std::uint16_t>(count)))
      .Pair("split.tensors.count", GgufType::kI32, GgufWriter::Number<std::int32_t>(2))
      .Tensor(tensor, {8}, 0, 0)
      .File(32);
}

std::string ErrorOf(const std::string& path) {
  const auto read = ReadGgufCheckpoint(path);
  if (read) return "accepted";
  std::string message = read.error().message;
  const std::string folder = FolderName(path) + "/";
  for (std::size_t at; (at = message.find(folder)) != std::string::npos;) message.erase(at, folder.size());
  return message;
}

TEST(GgufCheckpoint, JoinsThePartsWhicheverIsGiven) {
  const std::string first = Write("joined-00001-of-00002.gguf", Part(0, 2, "a"));
  const std::string second = Write("joined-00002-of-00002.gguf", Part(1, 2, "b"));
  for (const std::string& path : {first, second}) {
    const auto read = ReadGgufCheckpoint(path);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->stem, "joined");
    EXPECT_EQ(read->files.files, (std::vector<std::string>{first, second}));
    ASSERT_EQ(read->files.tensors.size(), 2U);
    EXPECT_EQ(read->files.tensors[1].name, "b");
    EXPECT_EQ(read->files.tensors[1].source.file, 1);
    EXPECT_EQ(read->metadata.Integer("split.no"), 0);
  }
}

TEST(GgufCheckpoint, ReadsASingleFile) {
  const auto read = ReadGgufCheckpoint(Write("one.gguf", GgufWriter().Tensor("x", {32}, 8, 0).File(34)));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->stem, "one");
  ASSERT_EQ(read->files.tensors.size(), 1U);
  EXPECT_EQ(read->files.tensors[0].bytes(), Bytes(34));
}

TEST(GgufCheckpoint, RefusesMissingParts) {
  EXPECT_EQ(ErrorOf(Write("hole-00001-of-00003.gguf", Part(0, 3, "a"))),
            "hole-00001-of-00003.gguf: 2 of 3 parts are missing: hole-00002-of-00003.gguf, hole-00003-of-00003.gguf");
}

TEST(GgufCheckpoint, RefusesPartsThatContradictTheirNames) {
  EXPECT_EQ(ErrorOf(Write("alone.gguf", Part(1, 2, "a"))),
            "alone.gguf: is part 2 of 2, but not named NAME-00002-of-00002.gguf, by which the others are found");
  Write("swapped-00002-of-00002.gguf", Part(0, 2, "b"));
  EXPECT_EQ(ErrorOf(Write("swapped-00001-of-00002.gguf", Part(1, 2, "a"))),
            "swapped-00001-of-00002.gguf: says it is part 2 of 2, its name says 1 of 2");
}

TEST(GgufCheckpoint, RefusesTensorsOfTwoPartsAndLostOnes) {
  Write("twice-00002-of-00002.gguf", Part(1, 2, "a"));
  EXPECT_EQ(ErrorOf(Write("twice-00001-of-00002.gguf", Part(0, 2, "a"))),
            "twice-00002-of-00002.gguf: tensor 'a' is also in twice-00001-of-00002.gguf");
  EXPECT_EQ(ErrorOf(Write("lost-00001-of-00001.gguf", Part(0, 1, "a"))),
            "lost-00001-of-00001.gguf: claims 2 tensors in 1 parts, which hold 1");
}

}  // namespace
}  // namespace stowage

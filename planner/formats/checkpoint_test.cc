#include "planner/formats/checkpoint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

std::string Index(const std::string& json) {
  const Result<CheckpointIndex> index = ParseCheckpointIndex(json, "i");
  if (!index) return index.error().message;
  std::string out;
  for (const auto& e : index->entries) out += e.tensor + " " + index->files[e.file] + "\n";
  return out;
}

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = JoinPath(testing::TempDir(), name);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fwrite(content.data(), 1, content.size(), file);
  std::fclose(file);
  return path;
}

std::string Safetensors(std::string json, int data) {
  std::string out(8, '\0');
  out[0] = static_cast<char>(json.size());
  return out + json + std::string(data, 'x');
}

TEST(CheckpointIndex, MapsTensorsToSortedFiles) {
  EXPECT_EQ(
      Index(R"({"metadata": {"total_size": 1.5}, "weight_map": {"b": "2.st", "a": "1.st", "c": "2.st"}, "x": [1]})"),
      "b 2.st\na 1.st\nc 2.st\n");
  EXPECT_EQ(Index(R"({"weight_map": {}})"), "");
}

TEST(CheckpointIndex, RefusesShardsOutsideTheFolder) {
  for (const char* name : {"../secret", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
    const std::string got = Index(fmt::format(R"({{"weight_map": {{"t": "{}"}}}})", name));
    EXPECT_NE(got.find("is not a file name inside the folder"), std::string::npos) << got;
  }
}

TEST(CheckpointIndex, RefusesWhatIsNoIndex) {
  EXPECT_EQ(Index("{}"), "i: has no weight_map");
  EXPECT_EQ(Index(R"({"weight_map": []})"), "i: byte 15: expected an object");
  EXPECT_EQ(Index(R"({"weight_map": {"a": 1}})"), "i: byte 21: expected a string");
  EXPECT_EQ(Index(R"({"weight_map": {"a": "f", "a": "f"}})"), "i: tensor 'a' appears twice");
  EXPECT_EQ(Index(R"({"weight_map": {}}{"weight_map": {}})"), "i: byte 18: text after the end of the value");
}

TEST(Checkpoint, JoinsShardsAndLeavesOutWhatTheIndexDoesNotList) {
  Write("s1", Safetensors(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2));
  Write(
      "s2",
      Safetensors(
          R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"n":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2));
  const Result<Checkpoint> c = ReadCheckpoint(Write("i.json", R"({"weight_map": {"a": "s1", "b": "s2"}})"));
  ASSERT_TRUE(c) << c.error().message;
  ASSERT_EQ(c->tensors.size(), 2u);
  EXPECT_EQ(c->tensors[1].name, "b");
  EXPECT_EQ(BaseName(c->files[c->tensors[1].source.file]), "s2");
  const Result<Checkpoint> wrong = ReadCheckpoint(Write("i.json", R"({"weight_map": {"a": "s2", "b": "s2"}})"));
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("tensor 'a' should be in s2, which does not hold it"), std::string::npos);
}

TEST(Checkpoint, NamesTheMissingShards) {
  const Result<Checkpoint> c = ReadCheckpoint(Write("m.json", R"({"weight_map": {"a": "no1", "b": "no2"}})"));
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, ErrorCode::kIo);
  EXPECT_NE(c.error().message.find("2 of 2 shards are missing: no1, no2"), std::string::npos);
}

TEST(Checkpoint, ATruncatedFileNamesTheTensorThatEndsBeyondIt) {
  const std::string json = R"({"x":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})";
  const std::string path = Write("short.safetensors", Safetensors(json, 5));
  EXPECT_EQ(ReadCheckpoint(path).error().message, path + ": tensor 'x' ends at byte 70 but the file has 66");
}

TEST(Checkpoint, ReadsTheRealIndexFiles) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  const std::map<std::string, std::pair<std::size_t, std::size_t>> expected = {
      // tensors, shards
      {"llama-3.1-8b", {291, 4}},
      {"llama-2-7b", {291, 2}},
      {"llama-2-70b-no-total-size", {723, 15}},
      {"llama-3.2-3b-one-tensor-per-shard", {254, 254}},
      {"codellama-7b-with-inv-freq", {323, 2}},
      {"bloom-176b.bin", {845, 72}},
      {"redpajama-7b-float-total-size.bin", {484, 2}},
      {"empty-weight-map", {0, 0}},
      {"cosmos-reason2-total-size-0", {750, 4}},
      {"medgemma-27b", {1247, 12}}};
  for (const auto& [name, counts] : expected) {
    const auto index = ReadCheckpointIndex(JoinPath(shared, "data/index/" + name + ".json"));
    ASSERT_TRUE(index) << index.error().message;
    EXPECT_EQ(std::pair(index->entries.size(), index->files.size()), counts) << name;
  }
  const auto broken = ReadCheckpointIndex(JoinPath(shared, "data/index/bloom-176b.concatenated.json"));
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("text after the end of the value"), std::string::npos);
}

}  // namespace
}  // namespace stowage

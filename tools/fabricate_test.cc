#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "exec/weights/writer/safetensors_writer.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"
#include "planner/zoo/zoo.h"
#include "tools/fabricate_model.h"

namespace stowage {
namespace {

std::string Shrunk(const char* base, const FabricateOptions& options) {
  const Result<Model> model = ShrinkModel(*ZooModel(base), options);
  return model ? DescribeShape(*model) : model.error().message;
}

std::string EmptyFolder(const char* name) {
  const std::string path = JoinPath(testing::TempDir(), name);
  EXPECT_EQ(std::system(("rm -rf " + path).c_str()), 0);
  return path;
}

TEST(ShrinkModel, KeepsTheWidthOfHeadsAndTheirGroups) {
  EXPECT_EQ(
      Shrunk("llama-8b", {.layers = 4, .hidden = 512, .vocab = 2048}),
      "4 layers, hidden 512, 4 heads of 128 (1 for keys and values), intermediate 1792, vocabulary 2048, bf16, untied");
}

TEST(ShrinkModel, NarrowsHeadsWhereGroupsWouldNotFit) {
  EXPECT_EQ(
      Shrunk("llama-8b", {.layers = 1, .hidden = 256, .vocab = 100}),
      "1 layers, hidden 256, 4 heads of 64 (1 for keys and values), intermediate 896, vocabulary 100, bf16, untied");
  EXPECT_EQ(
      Shrunk("llama-3.2-3b", {.layers = 2, .hidden = 512}),
      "2 layers, hidden 512, 4 heads of 128 (2 for keys and values), intermediate 1360, vocabulary 128256, bf16, tied");
}

TEST(ShrinkModel, TakesExplicitSizes) {
  EXPECT_EQ(Shrunk("llama-2-7b", {.layers = 2,
                                  .hidden = 64,
                                  .vocab = 32,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .intermediate = 96,
                                  .dtype = DType::kF32,
                                  .tied = true}),
            "2 layers, hidden 64, 4 heads of 16 (2 for keys and values), intermediate 96, vocabulary 32, fp32, tied");
  EXPECT_EQ(
      Shrunk("llama-8b", {}),
      "32 layers, hidden 4096, 32 heads of 128 (8 for keys and values), intermediate 14336, vocabulary 128256, bf16, "
      "untied");
}

TEST(ShrinkModel, RefusesSizesThatDoNotDivide) {
  EXPECT_EQ(Shrunk("llama-8b", {.hidden = 100, .heads = 3}), "--heads 3 does not divide the hidden size 100");
  EXPECT_EQ(Shrunk("llama-8b", {.hidden = 512, .heads = 4, .kv_heads = 3}), "--kv-heads 3 does not divide the 4 heads");
  EXPECT_EQ(Shrunk("llama-8b", {.hidden = 101}),
            "--hidden 101 cannot be cut into heads of an even width; give --heads");
  EXPECT_EQ(Shrunk("llama-8b", {.hidden = 12, .heads = 4}),
            "4 heads of hidden size 12 are 3 wide; rotary embedding needs an even width");
  EXPECT_EQ(Shrunk("llama-8b", {.dtype = DType::kI8}), "--dtype int8 cannot be fabricated, only fp32, fp16, bf16");
}

TEST(RandomWeight, IsAboutNormalAndDiffersBySeedAndName) {
  double sum = 0, squares = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    const double x = RandomWeight(1, "model.layers.0.mlp.up_proj.weight", i);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 5 * 0.02 / std::sqrt(kCount));
  EXPECT_NEAR(std::sqrt(squares / kCount), 0.02, 0.0003);
  EXPECT_NE(RandomWeight(1, "a.weight", 0), RandomWeight(2, "a.weight", 0));
  EXPECT_NE(RandomWeight(1, "a.weight", 0), RandomWeight(1, "b.weight", 0));
  EXPECT_EQ(RandomWeight(1, "model.norm.weight", 7), 1);
  EXPECT_EQ(RandomWeight(1, "q_proj.bias", 7), 0);
}

TEST(WriteModelFolder, AFolderLoadsAsTheModelItWasMadeFrom) {
  const std::string folder = EmptyFolder("fabricated/model");
  const FabricateOptions options{
      .layers = 2, .hidden = 64, .vocab = 96, .dtype = DType::kF32, .seed = 7, .max_shard_bytes = 100'000};
  const Model model = *ShrinkModel(*ZooModel("llama-8b"), options);
  const auto files = WriteModelFolder(model, folder, options);
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->front(), "config.json");
  EXPECT_EQ(files->back(), "model.safetensors.index.json");
  const Result<Model> back = LoadModel(folder);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(DescribeShape(*back), DescribeShape(model));
  EXPECT_EQ(back->rope.factor, 8);
  EXPECT_EQ(back->rope.original_max_positions, 8192);
  ASSERT_EQ(back->tensors.size(), model.tensors.size());
  const Tensor& q = back->tensors[back->FindTensor("model.layers.1.self_attn.q_proj.weight")];
  const std::string bytes = *InputFile::Open(back->files[q.source->file])->Read(q.source->offset, q.bytes().value());
  for (const std::int64_t i : {0, 1, 4095}) {
    float x = 0;
    std::memcpy(&x, bytes.data() + 4 * i, 4);
    EXPECT_EQ(x, RandomWeight(7, q.name, i)) << i;
  }
}

TEST(WriteModelFolder, RefusesAFolderThatHoldsAModel) {
  const std::string folder = EmptyFolder("twice");
  const FabricateOptions options{.layers = 1, .hidden = 32, .vocab = 8};
  const Model model = *ShrinkModel(*ZooModel("llama-1b"), options);
  ASSERT_TRUE(WriteModelFolder(model, folder, options));
  EXPECT_EQ(WriteModelFolder(model, folder, options).error().message,
            folder + ": already holds a model; choose another folder");
}

// Names and sizes of what a checkpoint holds, in state-dict order.
std::pair<std::vector<std::string>, std::vector<std::int64_t>> Saved(const char* name) {
  std::pair<std::vector<std::string>, std::vector<std::int64_t>> out;
  const Model model = *ZooModel(name);
  for (const Tensor& t : model.tensors) {
    if (!t.persistent || t.tied_to != kNoId) continue;
    out.first.push_back(t.name);
    out.second.push_back(t.bytes().value());
  }
  return out;
}

TEST(SplitIntoShards, CutsLlama8BIntoShardsOfTheOfficialSizes) {
  const auto [names, sizes] = Saved("llama-3.1-8b");
  const std::int64_t official[] = {4976698672, 4999802720, 4915916176, 1168138808};  // bytes of the published files
  const auto shards = SplitIntoShards(sizes, 5'000'000'000);
  ASSERT_EQ(shards.size(), 4u);
  for (std::size_t s = 0; s < 4; ++s) {
    std::int64_t header = official[s];
    for (const std::size_t i : shards[s]) header -= sizes[i];
    EXPECT_GT(header, 0) << s;
    EXPECT_LT(header, 160 * static_cast<std::int64_t>(shards[s].size()) + 64) << s;  // about 110 bytes a tensor
  }
}

TEST(SplitIntoShards, CutsLlama2WhereARealIndexCutsIt) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  const auto [names, sizes] = Saved("llama-2-7b");
  std::map<std::string, std::size_t> ours;
  const auto shards = SplitIntoShards(sizes, 10'000'000'000);  // the default before 2023
  for (std::size_t s = 0; s < shards.size(); ++s) {
    for (const std::size_t i : shards[s]) ours[names[i]] = s;
  }
  const auto index = ReadCheckpointIndex(JoinPath(shared, "data/index/llama-2-7b.json"));
  ASSERT_TRUE(index) << index.error().message;
  std::map<std::string, std::size_t> official;
  for (const auto& e : index->entries) official[e.tensor] = static_cast<std::size_t>(e.file);
  EXPECT_EQ(ours, official);
}

}  // namespace
}  // namespace stowage

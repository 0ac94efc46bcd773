#include "planner/zoo/zoo.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>
#include <string>

#include "planner/families/families.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

// name, parameters, weight bytes, tensors of the checkpoint, bytes of one block, cache bytes a position.
std::string Facts(const Model& m) {
  std::int64_t stored = 0;
  for (const Tensor& t : m.tensors) stored += !t.buffer && t.tied_to == kNoId;
  Bytes block;
  const ModuleId first = m.FindModule(m.class_name == "LlamaModel" ? "layers.0" : "model.layers.0");
  for (const Tensor& t : m.tensors) {
    if (m.BlockOf(t.module) == first) block += t.bytes();
  }
  return fmt::format("{} {} {} {} {} {}\n", m.name, m.Parameters(), m.WeightBytes().value(), stored, block.value(),
                     CacheBytesPerPosition(m).value());
}

TEST(Zoo, HoldsThePublishedSizesOfEveryLlama) {
  std::string got;
  for (const ZooEntry& entry : ZooEntries()) {
    const Result<Model> model = ZooModel(entry.name);
    ASSERT_TRUE(model) << model.error().message;
    if (model->family == "llama") got += Facts(*model);
  }
  EXPECT_EQ(got,
            "llama-2-7b 6738415616 13476831232 291 404766720 524288\n"
            "llama-2-13b 13015864320 26031728640 363 634408960 819200\n"
            "llama-2-70b 68976648192 137953296384 723 1711308800 327680\n"
            "llama-3-8b 8030261248 16060522496 291 436224000 131072\n"
            "llama-3-70b 70553706496 141107412992 723 1711308800 327680\n"
            "llama-3.1-8b 8030261248 16060522496 291 436224000 131072\n"
            "llama-3.1-70b 70553706496 141107412992 723 1711308800 327680\n"
            "llama-3.1-405b 405853388800 811706777600 1137 6375407616 516096\n"
            "llama-3.2-1b 1235814400 2471628800 146 121643008 32768\n"
            "llama-3.2-3b 3212749824 6425499648 254 201338880 114688\n");
}

TEST(Zoo, ForgivesSpelling) {
  for (const char* name : {"llama-8b", "Llama_8B", "llama-3.1-8b", "llama3.1:8b", "meta-llama/Llama-3.1-8B",
                           "meta-llama/Meta-Llama-3.1-8B-Instruct"}) {
    const Result<Model> model = ZooModel(name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->name, "llama-3.1-8b") << name;
  }
  EXPECT_EQ(ZooModel("meta-llama/Llama-2-7b-chat-hf")->name, "llama-2-7b");
  EXPECT_EQ(ZooModel("Llama 3.1 8B")->name, "llama-3.1-8b");
  EXPECT_EQ(ZooModel("google/gemma-2-9b-it")->name, "gemma-2-9b");
  EXPECT_EQ(ZooModel("mistralai/Mistral-7B-Instruct-v0.3")->name, "mistral-7b-v0.3");
  EXPECT_EQ(ZooModel("mistralai/Mixtral-8x7B-Instruct-v0.1")->name, "mixtral-8x7b");
}

TEST(Zoo, EveryNameAliasAndHubIdFindsItsOwnModel) {
  for (const ZooEntry& entry : ZooEntries()) {
    EXPECT_EQ(ZooModel(entry.name)->name, entry.name);
    EXPECT_EQ(ZooModel(entry.hub_id)->name, entry.name);
    for (const std::string& alias : entry.aliases) EXPECT_EQ(ZooModel(alias)->name, entry.name);
  }
}

TEST(Zoo, SuggestsTheNearestNameForAnUnknownOne) {
  const Result<Model> model = ZooModel("lama-8b");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().message, "unknown model 'lama-8b'; did you mean 'llama-8b'?");
  EXPECT_NE(ZooModel("zzzzzzzzzzzz").error().message.find("(known: llama-2-7b, llama-2-13b, "), std::string::npos);
  EXPECT_FALSE(ZooModel(""));
}

TEST(Zoo, HoldsEveryLanguageModelOfTheSharedConfigs) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  const std::set<std::string> other_files = {"falcon-40b-RefinedWeb", "falcon-7b-instruct-resaved",
                                             "t5-xxl-encoder-without-feed_forward_proj"};  // of models it holds
  int seen = 0;
  for (const std::string& file : NamesIn(JoinPath(shared, "data/models"))) {
    if (!file.ends_with(".json")) continue;
    const std::string name = file.substr(0, file.size() - 5);
    ++seen;
    EXPECT_NE(IsInZoo(name), other_files.contains(name)) << name;
  }
  EXPECT_GE(seen, 60);
}

TEST(LoadModel, SaysThatAPathDoesNotExist) {
  const Result<Model> model = LoadModel("./nowhere/config.json");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kIo);
  EXPECT_EQ(model.error().message, "'./nowhere/config.json': no such file or folder");
}

TEST(LoadModel, ThePublishedConfigsGiveTheModelsOfTheZoo) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const char* name :
       {"llama-2-70b", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "llama-3.2-1b", "llama-3.2-3b"}) {
    const Result<Model> read = LoadModel(JoinPath(shared, fmt::format("data/models/{}.json", name)));
    ASSERT_TRUE(read) << read.error().message;
    const Result<Model> known = ZooModel(name);
    ASSERT_EQ(read->tensors.size(), known->tensors.size()) << name;
    for (std::size_t i = 0; i < read->tensors.size(); ++i) {
      EXPECT_EQ(read->tensors[i].name, known->tensors[i].name);
      EXPECT_EQ(read->tensors[i].shape, known->tensors[i].shape) << read->tensors[i].name;
      EXPECT_EQ(read->tensors[i].dtype, known->tensors[i].dtype) << read->tensors[i].name;
      EXPECT_EQ(read->tensors[i].tied_to, known->tensors[i].tied_to) << read->tensors[i].name;
    }
    if (std::string(name) != "llama-2-70b") {  // whose copy there lacks rope_theta's neighbours
      EXPECT_EQ(read->rope.type, known->rope.type) << name;
      EXPECT_EQ(read->rope.factor, known->rope.factor) << name;
      EXPECT_EQ(read->shape.rope_theta, known->shape.rope_theta) << name;
      EXPECT_EQ(read->shape.max_positions, known->shape.max_positions) << name;
    }
  }
}

// Facts of the zoo go the way of a config; those of the published file must give the same model.
TEST(LoadModel, TheRowsBesideLlamaAreThePublishedConfigs) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  int compared = 0;
  for (const ZooEntry& entry : ZooEntries()) {
    const std::string path = JoinPath(shared, fmt::format("data/models/{}.json", entry.name));
    const Model known = *ZooModel(entry.name);
    if (known.family == "llama" || !IsFile(path)) continue;
    const Result<Model> read = LoadModel(path);
    ASSERT_TRUE(read) << read.error().message;
    ++compared;
    EXPECT_EQ(read->class_name, known.class_name) << entry.name;
    EXPECT_EQ(read->shape.max_positions, known.shape.max_positions) << entry.name;
    EXPECT_EQ(read->shape.windows, known.shape.windows) << entry.name;
    EXPECT_EQ(read->shape.rope_theta, known.shape.rope_theta) << entry.name;
    EXPECT_EQ(read->rope.type, known.rope.type) << entry.name;
    EXPECT_EQ(read->rope.factor, known.rope.factor) << entry.name;
    EXPECT_EQ(read->CheckpointBytes(), known.CheckpointBytes()) << entry.name;
    ASSERT_EQ(read->tensors.size(), known.tensors.size()) << entry.name;
    for (std::size_t i = 0; i < read->tensors.size(); ++i) {
      ASSERT_EQ(read->tensors[i].name, known.tensors[i].name) << entry.name;
      ASSERT_EQ(read->tensors[i].shape, known.tensors[i].shape) << entry.name << " " << read->tensors[i].name;
      ASSERT_EQ(read->tensors[i].dtype, known.tensors[i].dtype) << entry.name << " " << read->tensors[i].name;
    }
  }
  EXPECT_GE(compared, 33);
}

TEST(LoadModel, FoldersWithWeightsGiveEachTensorItsPlace) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const auto& [folder, files] :
       std::map<std::string, std::size_t>{{"llama", 1},
                                          {"llama/sharded", 2},
                                          {"llama-tied", 1},
                                          {"llama/sharded/model.safetensors.index.json", 2},
                                          {"llama/model.safetensors", 1}}) {
    const Result<Model> model = LoadModel(JoinPath(shared, "data/golden/" + folder));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->files.size(), files);
    for (const Tensor& t : model->tensors) EXPECT_EQ(t.source.has_value(), t.persistent) << folder << " " << t.name;
  }
  EXPECT_EQ(LoadModel(JoinPath(shared, "data/golden/llama-tied"))->Parameters(), 131392);
}

TEST(LoadModel, BothSpellingsOfAConfigGiveTheSameModel) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const char* folder : {"llama", "llama-tied"}) {
    const std::string base = JoinPath(shared, fmt::format("data/golden/{}/", folder));
    const Model now = *LoadModel(base + "config.json");
    const Model classic = *LoadModel(base + "config.classic.json");
    EXPECT_EQ(Facts(now).substr(now.name.size()), Facts(classic).substr(classic.name.size()));
    EXPECT_EQ(now.rope.type, classic.rope.type);
    EXPECT_EQ(now.rope.factor, classic.rope.factor);
    EXPECT_EQ(now.rope.original_max_positions, classic.rope.original_max_positions);
    EXPECT_EQ(now.shape.rope_theta, classic.shape.rope_theta);
    EXPECT_EQ(now.shape.norm_eps, classic.shape.norm_eps);
    EXPECT_EQ(now.tensors[0].dtype, classic.tensors[0].dtype);
    EXPECT_EQ(now.tied_groups, classic.tied_groups);
  }
}

TEST(Zoo, RealIndexFilesNameTheSameTensors) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const auto& [file, name] :
       std::map<std::string, std::string>{{"llama-3.1-8b", "llama-3.1-8b"},
                                          {"llama-2-7b", "llama-2-7b"},
                                          {"llama-2-70b-no-total-size", "llama-2-70b"},
                                          {"llama-3.2-3b-one-tensor-per-shard", "llama-3.2-3b"}}) {
    const auto index = ReadCheckpointIndex(JoinPath(shared, "data/index/" + file + ".json"));
    ASSERT_TRUE(index) << index.error().message;
    std::set<std::string> wanted;
    for (const auto& e : index->entries) wanted.insert(e.tensor);
    std::set<std::string> ours;
    const Model model = *ZooModel(name);
    for (const Tensor& t : model.tensors) {
      if (t.persistent && t.tied_to == kNoId) ours.insert(t.name);
    }
    EXPECT_EQ(ours, wanted) << name;
  }
}

}  // namespace
}  // namespace stowage

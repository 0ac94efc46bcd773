// Module tree files of real torch modules (recorded by tests/peer/module_tree_files.py) against our own trees, and
// models of headers alone.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

std::string Shown(const Model& model) {
  std::string out;
  for (const Module& m : model.modules) {
    out += (m.name.empty() ? "." : m.name) + " " + m.class_name;
    if (m.same_as != kNoId) out += " == " + model.modules[m.same_as].name;
    for (const TensorId id : m.tensors) {
      const Tensor& t = model.tensors[id];
      out += fmt::format(" {}{}{}:{}{}", t.buffer ? "~" : "", t.name.substr(t.name.rfind('.') + 1),
                         FormatShape(t.shape), Name(t.dtype), t.persistent ? "" : "!");
      if (t.tied_to != kNoId) out += "=" + model.tensors[t.tied_to].name;
    }
    out += "\n";
  }
  for (const std::string& name : model.no_split_classes) out += "no split: " + name + "\n";
  return out;
}

// A folder of this test that goes away with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "stowage_zoo_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(JoinPath(path_, name), std::ios::binary) << text;
    return JoinPath(path_, name);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string Safetensors(const std::string& header, std::size_t bytes) {
  std::string out(8, '\0');
  const std::uint64_t size = header.size();
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(size >> (8 * i));
  return out + header + std::string(bytes, '\0');
}

TEST(ModuleTrees, DumpedByTorchEqualThoseOfTheFamilies) {
  for (const auto& [name, config] : std::map<std::string, std::string>{
           {"llama", R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48,
                         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96, "dtype": "bfloat16",
                         "tie_word_embeddings": true})"},
           {"gpt2", R"({"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 96,
                        "n_positions": 16})"},
           {"falcon", R"({"model_type": "falcon", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 96,
                          "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": true,
                          "dtype": "float16"})"}}) {
    const Result<Model> dumped = LoadModel("planner/zoo/goldens/" + name + ".modules.json");
    ASSERT_TRUE(dumped) << dumped.error().message;
    const Result<Model> built = BuildModel(*HfConfig::Parse(config, name), name);
    ASSERT_TRUE(built) << built.error().message;
    EXPECT_EQ(Shown(*dumped), Shown(*built));
    EXPECT_EQ(dumped->tied_groups, built->tied_groups);
    EXPECT_EQ(dumped->name, name);
  }
}

TEST(ModuleTrees, AModuleThatTorchRegistersTwiceIsThereTwice) {
  const Result<Model> model = LoadModel("planner/zoo/goldens/shared.modules.json");
  ASSERT_TRUE(model) << model.error().message;
  const std::string norm =
      " weight[8]:fp32{} bias[8]:fp32{} ~running_mean[8]:fp32{} ~running_var[8]:fp32{} "
      "~num_batches_tracked[]:int64{}\n";
  const auto tied = [&](std::string_view prefix) {
    std::string out = norm;
    for (const char* name : {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}) {
      out.replace(out.find("{}"), 2, prefix.empty() ? "" : fmt::format("={}.{}", prefix, name));
    }
    return out;
  };
  EXPECT_EQ(Shown(*model),
            ". Shared\n"
            "embed Embedding weight[10, 4]:fp32\n"
            "first Block ~steps[3]:fp32!\n"
            "first.up Linear weight[8, 4]:fp32\n"
            "first.norm BatchNorm1d" +
                tied("") +
                "again Block == first ~steps[3]:fp32!=first.steps\n"
                "again.up Linear == first.up weight[8, 4]:fp32=first.up.weight\n"
                "again.norm BatchNorm1d == first.norm" +
                tied("first.norm") +
                "list ModuleList\n"
                "list.0 Block ~steps[3]:fp32!\n"
                "list.0.up Linear weight[8, 4]:fp32\n"
                "list.0.norm BatchNorm1d" +
                tied("") +
                "list.1 Linear == first.up weight[8, 4]:fp32=first.up.weight\n"
                "head Linear weight[10, 4]:fp32=embed.weight\n"
                "no split: Block\n");
  EXPECT_EQ(model->Parameters(), 10 * 4 + 2 * (8 * 4 + 8 + 8));
}

TEST(LoadModel, AnUnknownModelTypeWithWeightsFallsBackToItsHeaders) {
  const Folder folder;
  folder.Write("config.json", R"({"model_type": "zephyrnet"})");
  folder.Write("model.safetensors", Safetensors(R"({"net.10.w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                                                R"("net.2.w":{"dtype":"F16","shape":[3],"data_offsets":[4,10]},)"
                                                R"("scale":{"dtype":"F32","shape":[],"data_offsets":[10,14]}})",
                                                14));
  const Result<Model> model = LoadModel(folder.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(Shown(*model),
            ". weights only: model_type \"zephyrnet\" is not known scale[]:fp32\n"
            "net Module\nnet.2 Module w[3]:fp16\nnet.10 Module w[2]:fp16\n");
  EXPECT_EQ(model->WeightBytes(), Bytes(14));
  EXPECT_EQ(model->family, "weights only");
  EXPECT_EQ(model->tensors[1].source->offset - model->tensors[2].source->offset, 4);
  std::filesystem::remove(JoinPath(folder.path(), "config.json"));
  const Result<Model> bare = LoadModel(JoinPath(folder.path(), "model.safetensors"));
  ASSERT_TRUE(bare) << bare.error().message;
  EXPECT_EQ(bare->class_name, "weights only: there is no config.json");
}

TEST(LoadModel, AnUnknownModelTypeWithoutWeightsIsAnErrorNamingTheFamilies) {
  const Folder folder;
  const std::string path = folder.Write("config.json", R"({"model_type": "zephyrnet"})");
  const Result<Model> model = LoadModel(folder.path());
  ASSERT_FALSE(model);
  EXPECT_TRUE(model.error().message.starts_with(path + ": model_type is \"zephyrnet\", known are "));
}

TEST(LoadModel, TinyModelsOfTheOtherFamiliesHaveEachTensorInTheirFiles) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const char* folder : {"gpt2", "opt", "gpt-neox", "falcon", "falcon-40b-style", "t5-encoder", "clip-text"}) {
    const std::string path = JoinPath(shared, fmt::format("data/golden/{}", folder));
    const Result<Model> model = LoadModel(path);
    ASSERT_TRUE(model) << model.error().message;
    for (const Tensor& t : model->tensors) EXPECT_EQ(t.source.has_value(), t.persistent) << folder << " " << t.name;
    const Result<Model> classic = LoadModel(path + "/config.classic.json");
    ASSERT_TRUE(classic) << classic.error().message;
    EXPECT_EQ(Shown(*classic), Shown(*model));
    EXPECT_EQ(CacheBytesPerPosition(*classic), CacheBytesPerPosition(*model)) << folder;
  }
}

}  // namespace
}  // namespace stowage

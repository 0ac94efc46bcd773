// What a user may name as a model, and how the answer says where it came from.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/formats/hf_config.h"
#include "planner/zoo/hub_cache.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
  "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10, "torch_dtype": "float16"})";

// An empty folder of its own for each test.
std::string Folder(const std::string& name) {
  const fs::path path = fs::path(testing::TempDir()) / "load_model_test" / name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path.string();
}

void Write(const std::string& folder, const std::string& name, const std::string& content) {
  fs::create_directories(fs::path(folder + "/" + name).parent_path());
  std::ofstream(folder + "/" + name, std::ios::binary) << content;
}

struct Stored {
  std::string name;
  Shape shape;
  const char* dtype = "F16";
};

std::string Safetensors(const std::vector<Stored>& tensors) {
  std::string json = "{";
  std::int64_t at = 0;
  for (const Stored& t : tensors) {
    const std::int64_t end = at + Elements(t.shape) * (std::string(t.dtype) == "F32" ? 4 : 2);
    json += fmt::format(R"({}"{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", at == 0 ? "" : ",", t.name,
                        t.dtype, FormatShape(t.shape), at, end);
    at = end;
  }
  json += "}";
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(json.size() >> (8 * i));
  return out + json + std::string(at, 'x');
}

// What a checkpoint of kConfig holds.
std::vector<Stored> Saved(const std::string& config = kConfig) {
  const Model model = *BuildModel(*HfConfig::Parse(config, "c"), "m");
  std::vector<Stored> out;
  for (const Tensor& t : model.tensors) {
    if (t.persistent && t.tied_to == kNoId) out.push_back({t.name, t.shape});
  }
  return out;
}

std::string IndexOf(const std::vector<Stored>& tensors, const std::string& shard, const std::string& metadata) {
  std::string map;
  for (const Stored& t : tensors) map += fmt::format(R"({}"{}": "{}")", map.empty() ? "" : ", ", t.name, shard);
  return fmt::format(R"({{"metadata": {}, "weight_map": {{{}}}}})", metadata, map);
}

std::string ErrorOf(const Result<Model>& model) { return model ? "accepted" : model.error().message; }

// A repository in a cache as the hub's library lays it out; returns the snapshot's folder.
std::string Cached(const std::string& hub, const std::string& repo_folder, const std::string& commit) {
  Write(hub + "/" + repo_folder, "refs/main", commit);
  const std::string snapshot = hub + "/" + repo_folder + "/snapshots/" + commit;
  fs::create_directories(snapshot);
  return snapshot;
}

// A file of a snapshot: a link to a blob.
void Link(const std::string& snapshot, const std::string& name, const std::string& content) {
  Write(snapshot + "/../../blobs", name + "-blob", content);
  fs::create_symlink("../../blobs/" + name + "-blob", snapshot + "/" + name);
}

TEST(HubId, IsAnOrganisationANameAndARevision) {
  const auto parts = [](const char* what) {
    const std::optional<HubId> id = ParseHubId(what);
    return id ? id->repo + " " + id->revision : "none";
  };
  EXPECT_EQ(parts("meta-llama/Llama-3.1-8B"), "meta-llama/Llama-3.1-8B main");
  EXPECT_EQ(parts("gpt2@v1"), "gpt2 v1");
  EXPECT_EQ(parts("a/b@refs/pr/1"), "a/b refs/pr/1");
  for (const char* what :
       {"", "/a", "a/", "a/b/c", "a--b/c", "../x", "a/..", "a/b@", "a/b@../../x", "a/b@/x", "-a/b", "a b"}) {
    EXPECT_EQ(parts(what), "none") << what;
  }
}

TEST(HubCache, ARepositoryIsItsSnapshotOfMain) {
  const std::string hub = Folder("hub");
  const std::string snapshot = Cached(hub, "models--some--tiny", "c0ffee");
  Link(snapshot, "config.json", kConfig);
  Link(snapshot, "model.safetensors", Safetensors(Saved()));
  for (const char* what : {"some/tiny", "some/tiny@main", "some/tiny@c0ffee"}) {
    const Result<Model> model = LoadModel(what, hub);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->name, "tiny");
    EXPECT_EQ(model->files.size(), 1u);
    const std::string asked = std::string(what).find('@') == std::string::npos ? std::string(what) + "@main" : what;
    EXPECT_EQ(model->origin, "Hugging Face cache, " + asked + ": " + snapshot + "/model.safetensors");
  }
  EXPECT_EQ(ErrorOf(LoadModel("some/tiny@v2", hub)),
            "some/tiny: the Hugging Face cache has no revision 'v2' of it; " + hub + "/models--some--tiny holds main");
  EXPECT_NE(ErrorOf(LoadModel("some/other", hub)).find("nor is it in " + hub), std::string::npos);
  EXPECT_NE(ErrorOf(LoadModel("some/tiny", "")).find("unknown model 'some/tiny'"), std::string::npos);
}

TEST(HubCache, WeightsThatAreThereWinOverTheZooAndAConfigAloneDoesNot) {
  const std::string hub = Folder("hub-zoo");
  const std::string snapshot = Cached(hub, "models--meta-llama--Llama-3.1-8B", "c0ffee");
  Link(snapshot, "config.json", kConfig);
  EXPECT_EQ(LoadModel("meta-llama/Llama-3.1-8B", hub)->origin, "the zoo's facts of meta-llama/Llama-3.1-8B");
  EXPECT_EQ(LoadModel("meta-llama/Llama-3.1-8B@main", hub)->shape.hidden, 8);
  Link(snapshot, "model.safetensors", Safetensors(Saved()));
  EXPECT_EQ(LoadModel("meta-llama/Llama-3.1-8B", hub)->shape.hidden, 8);
  EXPECT_EQ(LoadModel("llama-3.1-8b", hub)->shape.hidden, 4096);
}

TEST(HubCache, SaysThatADownloadHasNotEnded) {
  const std::string hub = Folder("hub-partly");
  const std::string snapshot = Cached(hub, "models--meta-llama--Llama-3.1-8B", "c0ffee");
  Link(snapshot, "config.json", kConfig);
  Link(snapshot, "model.safetensors.index.json", IndexOf(Saved(), "model-00001-of-00001.safetensors", "{}"));
  Write(snapshot + "/../../blobs", "abc.incomplete", "");
  EXPECT_EQ(ErrorOf(LoadModel("meta-llama/Llama-3.1-8B", hub)),
            "meta-llama/Llama-3.1-8B@main in the Hugging Face cache: " + snapshot +
                "/model.safetensors.index.json: 1 of 1 shards are missing: model-00001-of-00001.safetensors; its "
                "download has "
                "not ended; without files, 'llama-3.1-8b' is known too");
  const std::string empty = Cached(hub, "models--some--empty", "c0ffee");
  fs::create_symlink("../../blobs/gone", empty + "/config.json");
  EXPECT_EQ(ErrorOf(LoadModel("some/empty", hub)),
            "some/empty@main in the Hugging Face cache: " + empty +
                ": has no config.json, and no weights in safetensors or GGUF files");
}

TEST(LoadModel, AnIndexOfPicklesTakesItsShapesFromTheConfig) {
  const std::string folder = Folder("bin");
  Write(folder, "config.json", kConfig);
  std::vector<Stored> stored = Saved();
  stored.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}});
  stored.push_back({"v_head.weight", {1}});
  Write(folder, "pytorch_model.bin.index.json",
        IndexOf(stored, "pytorch_model-00001-of-00001.bin", R"({"total_size": 2e3})"));
  for (const std::string& what : {folder, folder + "/pytorch_model.bin.index.json"}) {
    const Result<Model> model = LoadModel(what);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->CheckpointBytes(), Bytes(2000));
    EXPECT_EQ(model->Parameters(), 728);
    EXPECT_EQ(
        model->notes,
        (std::vector<std::string>{
            "1 tensor of the files is in no part of LlamaForCausalLM and is not loaded: 'v_head.weight'.",
            "The index names 14 tensors in 1 shards, which are not read: shapes and dtypes are those of config.json.",
            "The index states 2,000 B in all, config.json describes 1,456 B."}));
  }
  stored.erase(stored.begin());
  Write(folder, "pytorch_model.bin.index.json", IndexOf(stored, "p.bin", "{}"));
  EXPECT_EQ(ErrorOf(LoadModel(folder)),
            folder +
                "/pytorch_model.bin.index.json: 1 tensor differs from what config.json describes: "
                "'model.embed_tokens.weight' [10, 8] is missing");
}

TEST(LoadModel, AnIndexAloneGivesNamesAndTheBytesItStates) {
  const std::string folder = Folder("names");
  Write(folder, "some.json", IndexOf(Saved(), "p.bin", R"({"total_size": 123})"));
  const Result<Model> model = LoadModel(folder + "/some.json");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->names_only);
  EXPECT_EQ(model->tensors.size(), 12u);
  EXPECT_EQ(model->CheckpointBytes(), Bytes(123));
  EXPECT_EQ(model->class_name, "weights only: there is no config.json");
}

TEST(LoadModel, StrangersInTheFilesAreNotedAndCountAsNotLoaded) {
  const std::string folder = Folder("strangers");
  Write(folder, "config.json", kConfig);
  std::vector<Stored> stored = Saved();
  for (int i = 0; i < 7; ++i) stored.push_back({fmt::format("extra.{}", i), {2}});
  stored.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}});
  stored[0].dtype = "F32";
  Write(folder, "model.safetensors", Safetensors(stored));
  const Result<Model> model = LoadModel(folder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->unloaded.size(), 7u);
  EXPECT_EQ(model->CheckpointBytes(), Bytes(2 * 728 + 2 * 80 + 7 * 4));
  EXPECT_EQ(
      model->notes,
      (std::vector<std::string>{
          "1 tensor stored as fp32, fp16 by config.json; the files count: 'model.embed_tokens.weight'.",
          "7 tensors of the files are in no part of LlamaForCausalLM and are not loaded: 'extra.0' [2]; 'extra.1' [2]; "
          "'extra.2' [2]; 'extra.3' [2]; 'extra.4' [2]; and 2 more."}));
}

TEST(LoadModel, ABaseModelsFileServesTheClassWithAHeadLessItsPrefix) {
  const std::string folder = Folder("prefix");
  const std::string tied = R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
      "num_attention_heads": 2, "vocab_size": 10, "tie_word_embeddings": true})";
  Write(folder, "config.json", tied);
  std::vector<Stored> stored = Saved(tied);
  for (Stored& t : stored) t.name = t.name.substr(6);  // "model."
  Write(folder, "model.safetensors", Safetensors(stored));
  const Result<Model> model = LoadModel(folder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->tensors[0].source);
}

TEST(LoadModel, FirstBertFilesCallTheWeightsOfALayerNormGammaAndBeta) {
  const std::string folder = Folder("bert");
  const std::string bert = R"({"model_type": "bert", "architectures": ["BertForMaskedLM"], "num_hidden_layers": 1,
      "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 10,
      "max_position_embeddings": 4})";
  Write(folder, "config.json", bert);
  std::vector<Stored> stored = Saved(bert);
  for (Stored& t : stored) {
    t.name = "bert." + t.name;
    if (const auto at = t.name.find("LayerNorm.weight"); at != std::string::npos) t.name.replace(at + 10, 6, "gamma");
    if (const auto at = t.name.find("LayerNorm.bias"); at != std::string::npos) t.name.replace(at + 10, 4, "beta");
  }
  stored.push_back({"cls.predictions.bias", {10}});
  Write(folder, "model.safetensors", Safetensors(stored));
  const Result<Model> model = LoadModel(folder);
  ASSERT_TRUE(model) << model.error().message;
  for (const Tensor& t : model->tensors) EXPECT_EQ(t.source.has_value(), t.persistent) << t.name;
}

TEST(LoadModel, AnUnknownModelTypeIsItsWeightsAloneOrAnErrorNamingTheFamilies) {
  const std::string folder = Folder("unknown");
  Write(folder, "config.json", R"({"model_type": "zephyrnet"})");
  EXPECT_NE(ErrorOf(LoadModel(folder)).find("config.json: model_type is \"zephyrnet\", known are bert, bloom, "),
            std::string::npos);
  Write(folder, "model.safetensors", Safetensors({{"a.b.weight", {3, 2}}, {"a.b.bias", {3}}}));
  const Result<Model> model = LoadModel(folder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->class_name, "weights only: model_type \"zephyrnet\" is not known");
  EXPECT_EQ(model->Parameters(), 9);
}

TEST(LoadModel, WeightsThatAToolHasPackedAreThoseOfTheHeaders) {
  const std::string folder = Folder("packed");
  std::string config = kConfig;
  config.insert(1, R"("quantization_config": {"quant_method": "gptq", "bits": 8}, )");
  Write(folder, "config.json", config);
  EXPECT_EQ(ErrorOf(LoadModel(folder)), folder +
                                            "/config.json: quantization_config.bits is 8, without files only 4 is "
                                            "known for gptq");
  Write(folder, "model.safetensors",
        Safetensors({{"model.layers.0.mlp.up_proj.qweight", {2, 12}}, {"model.layers.0.mlp.up_proj.scales", {1, 12}}}));
  const Result<Model> model = LoadModel(folder);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->class_name, "weights only: its weights are packed by \"gptq\"");
  EXPECT_EQ(model->CheckpointBytes(), Bytes(72));
}

TEST(LoadModel, SaysWhatAFolderIsThatHoldsNoModel) {
  const std::string folder = Folder("odd");
  EXPECT_EQ(ErrorOf(LoadModel(folder)), folder + ": has no config.json, and no weights in safetensors or GGUF files");
  for (int i = 0; i < 7; ++i) Write(folder, fmt::format("m-q{}.gguf", i), "");
  EXPECT_EQ(ErrorOf(LoadModel(folder)), folder +
                                            ": holds 7 GGUF models, name one of them: m-q0.gguf, m-q1.gguf, m-q2.gguf, "
                                            "m-q3.gguf, m-q4.gguf, ...");
  const std::string pipeline = Folder("pipeline");
  Write(pipeline, "model_index.json", "{}");
  EXPECT_EQ(ErrorOf(LoadModel(pipeline)),
            pipeline + ": is a pipeline of several models (model_index.json); name the folder of one of them");
  const std::string named = Folder("x.safetensors");
  EXPECT_EQ(ErrorOf(LoadModel(named)), named + ": is a folder, not a file");
  Write(folder, "weights.bin", "");
  EXPECT_EQ(ErrorOf(LoadModel(folder + "/weights.bin")),
            folder + "/weights.bin: is none of *.safetensors, *.gguf, *.json");
}

}  // namespace
}  // namespace stowage

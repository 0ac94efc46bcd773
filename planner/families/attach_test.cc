#include "planner/families/attach.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "planner/families/families.h"

namespace stowage {
namespace {

constexpr const char* kTied = R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
  "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10, "tie_word_embeddings": true})";

Model Tied() { return *BuildModel(*HfConfig::Parse(kTied, "config.json"), "tied"); }

// What a checkpoint of `model` holds: every saved tensor, in F16.
Checkpoint Saved(const Model& model) {
  Checkpoint c{{"model.safetensors"}, {}};
  std::int64_t offset = 100;
  for (const Tensor& t : model.tensors) {
    if (!t.persistent || t.tied_to != kNoId) continue;
    c.tensors.push_back({t.name, t.shape, {0, offset, DType::kF16}});
    offset += c.tensors.back().bytes().value();
  }
  return c;
}

TEST(AttachCheckpoint, TakesDtypesAndPlacesFromTheHeader) {
  Model model = Tied();
  ASSERT_TRUE(AttachCheckpoint(model, Saved(model), "dir"));
  const Tensor& head = model.tensors[model.FindTensor("lm_head.weight")];
  EXPECT_EQ(head.source->offset, 100);
  EXPECT_EQ(head.dtype, DType::kF16);
  EXPECT_EQ(model.tensors[1].source->offset, 100 + 10 * 8 * 2);
  EXPECT_EQ(model.WeightBytes().value(), 2 * model.Parameters());
  EXPECT_FALSE(model.tensors[model.FindTensor("model.rotary_emb.inv_freq")].source);
}

TEST(AttachCheckpoint, ATiedCopyInTheFileServesItsOwner) {
  Model model = Tied();
  Checkpoint c = Saved(model);
  c.tensors[0].name = "lm_head.weight";
  ASSERT_TRUE(AttachCheckpoint(model, c, "dir"));
  EXPECT_EQ(model.tensors[model.FindTensor("model.embed_tokens.weight")].source->offset, 100);
}

TEST(AttachCheckpoint, FindsTheHeadOfGptNeoXUnderItsNameInFiles) {
  Model model = *BuildModel(*HfConfig::Parse(R"({"model_type": "gpt_neox", "num_hidden_layers": 1, "hidden_size": 16,
    "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40, "dtype": "float16"})",
                                             "config.json"),
                            "neox");
  Checkpoint c = Saved(model);
  for (const char* name : {"embed_out.weight", "lm_head.weight"}) {  // as published, and as older code saved it
    c.tensors.back().name = name;
    Model fresh = model;
    ASSERT_TRUE(AttachCheckpoint(fresh, c, "dir")) << name;
    EXPECT_EQ(fresh.tensors.back().source->offset, c.tensors.back().source.offset);
    EXPECT_TRUE(fresh.notes.empty());
  }
  c.tensors.back().name = "embed_in.weight";
  EXPECT_NE(AttachCheckpoint(model, c, "dir").error().message.find("'lm_head.weight' [40, 16] is missing"),
            std::string::npos);
}

// from_pretrained leaves a table and a head apart that are both in the files; those whose config ties them are the same.
TEST(AttachCheckpoint, UntiesT5sHeadWhereConfigAndFilesHaveOneOfItsOwn) {
  const auto built = [](const char* more) {
    return *BuildModel(*HfConfig::Parse(fmt::format(R"({{"model_type": "t5", "architectures":
      ["T5ForConditionalGeneration"], "num_layers": 1, "d_model": 16, "num_heads": 2, "d_kv": 4, "d_ff": 24,
      "vocab_size": 40{}}})",
                                                    more),
                                        "config.json"),
                       "t5");
  };
  for (const bool own : {false, true}) {
    for (const bool stored : {false, true}) {
      Model model = built(own ? R"(, "tie_word_embeddings": false)" : "");
      Checkpoint c = Saved(model);
      if (stored) c.tensors.push_back({"lm_head.weight", {40, 16}, {0, 90000, DType::kF16}});
      const std::int64_t tied = model.Parameters();
      ASSERT_TRUE(AttachCheckpoint(model, c, "dir"));
      EXPECT_EQ(model.Parameters() - tied, own && stored ? 40 * 16 : 0);
      EXPECT_EQ(model.tensors.back().source->offset, own && stored ? 90000 : 100);
      EXPECT_EQ(model.tied_groups[0].size(), own && stored ? 3U : 4U);
    }
  }
}

TEST(AttachCheckpoint, ToleratesOldRopeBuffers) {
  Model model = Tied();
  Checkpoint c = Saved(model);
  c.tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {2}, {0, 9000, DType::kF32}});
  EXPECT_TRUE(AttachCheckpoint(model, c, "dir"));
}

TEST(AttachCheckpoint, ListsTheFirstDifferences) {
  Model model = Tied();
  Checkpoint c = Saved(model);
  c.tensors[1].shape = {4, 8};
  c.tensors[2].name = "stranger";
  c.tensors[3].source.dtype = DType::kI8;
  EXPECT_EQ(AttachCheckpoint(model, c, "dir").error().message,
            "dir: 4 tensors differ from what config.json describes: "
            "'model.layers.0.self_attn.q_proj.weight' is [4, 8] in model.safetensors, [8, 8] by the config; "
            "'model.layers.0.self_attn.v_proj.weight' is stored as int8, not a floating-point type; "
            "'model.layers.0.self_attn.k_proj.weight' [8, 8] is missing; 'stranger' [8, 8] is unexpected");
  c.tensors.clear();
  Model fresh = Tied();
  EXPECT_NE(AttachCheckpoint(fresh, c, "dir").error().message.find("; and 6 more"), std::string::npos);
}

}  // namespace
}  // namespace stowage

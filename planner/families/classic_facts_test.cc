// Published counts of the families before llama and of the encoders, and the names of real checkpoints.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "planner/base/text.h"
#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

Model Built(const std::string& text) {
  const Result<HfConfig> config = HfConfig::Parse(text, "config.json");
  EXPECT_TRUE(config) << config.error().message;
  const Result<Model> model = BuildModel(*config, "m");
  EXPECT_TRUE(model) << model.error().message;
  return *model;
}

std::string Refused(const std::string& text) {
  const Result<Model> model = BuildModel(*HfConfig::Parse(text, "config.json"), "m");
  EXPECT_FALSE(model);
  return model ? "" : model.error().message;
}

struct Fact {
  const char* config;  // under data/models
  const char* class_name;
  std::int64_t parameters;
  std::int64_t with_copies;
  std::int64_t bytes;  // of the weights, a tied one once
  std::int64_t cache;  // bytes a position
  const char* no_split;
};

// FACTS.md of the folder; bytes in the dtype of the config (bloom: its published one).
constexpr Fact kFacts[] = {
    {"gpt2", "GPT2LMHeadModel", 124'439'808, 163'037'184, 497'759'232, 73'728, "GPT2Block"},
    {"gpt2-xl", "GPT2LMHeadModel", 1'557'611'200, 1'638'022'400, 6'230'444'800, 614'400, "GPT2Block"},
    {"gpt-j-6b", "GPTJForCausalLM", 6'050'882'784, 6'050'882'784, 24'203'531'136, 917'504, "GPTJBlock"},
    {"gpt-neox-20b", "GPTNeoXForCausalLM", 20'554'567'680, 20'554'567'680, 41'109'135'360, 1'081'344, "GPTNeoXLayer"},
    {"opt-125m", "OPTForCausalLM", 125'239'296, 163'848'192, 250'478'592, 36'864, "OPTDecoderLayer"},
    {"opt-1.3b", "OPTForCausalLM", 1'315'758'080, 1'418'715'136, 2'631'516'160, 196'608, "OPTDecoderLayer"},
    {"opt-6.7b", "OPTForCausalLM", 6'658'473'984, 6'864'388'096, 13'316'947'968, 524'288, "OPTDecoderLayer"},
    {"opt-30b", "OPTForCausalLM", 29'974'540'288, 30'334'889'984, 59'949'080'576, 1'376'256, "OPTDecoderLayer"},
    {"opt-175b", "OPTForCausalLM", 174'604'468'224, 175'222'210'560, 349'208'936'448, 4'718'592, "OPTDecoderLayer"},
    {"bloom-176b", "BloomForCausalLM", 176'247'271'424, 179'843'887'104, 352'494'542'848, 4'014'080, "BloomBlock"},
    {"falcon-7b-instruct-resaved", "FalconForCausalLM", 6'921'720'704, 7'217'189'760, 27'686'882'816, 16'384,
     "FalconDecoderLayer"},
    {"falcon-40b", "FalconForCausalLM", 41'303'293'952, 41'835'970'560, 82'606'587'904, 122'880, "FalconDecoderLayer"},
    {"falcon-40b-RefinedWeb", "FalconForCausalLM", 41'303'293'952, 41'835'970'560, 82'606'587'904, 122'880,
     "FalconDecoderLayer"},
    {"falcon-180b", "FalconForCausalLM", 178'557'088'768, 179'522'565'120, 357'114'177'536, 163'840,
     "FalconDecoderLayer"},
    {"bert-large-uncased", "BertModel", 335'141'888, 335'141'888, 1'340'567'552, 0, "BertEmbeddings, BertLayer"},
    {"clip-vit-l-text", "CLIPTextModel", 123'060'480, 123'060'480, 246'120'960, 0,
     "CLIPTextEmbeddings, CLIPEncoderLayer"},
    {"openclip-bigg-text", "CLIPTextModelWithProjection", 694'659'840, 694'659'840, 1'389'319'680, 0,
     "CLIPTextEmbeddings, CLIPEncoderLayer"},
    {"sd3-medium/text_encoder/config", "CLIPTextModelWithProjection", 123'650'304, 123'650'304, 247'300'608, 0,
     "CLIPTextEmbeddings, CLIPEncoderLayer"},
    {"sd1.5/text_encoder/config", "CLIPTextModel", 123'060'480, 123'060'480, 492'241'920, 0,
     "CLIPTextEmbeddings, CLIPEncoderLayer"},
    {"t5-v1_1-xxl-encoder", "T5EncoderModel", 4'762'310'656, 4'893'906'944, 9'524'621'312, 0, "T5Block"},
    {"t5-xxl-encoder-without-feed_forward_proj", "T5EncoderModel", 4'762'310'656, 4'893'906'944, 19'049'242'624, 0,
     "T5Block"},
    {"wan2.1-t2v-1.3b/text_encoder/config", "UMT5EncoderModel", 5'680'910'336, 6'731'059'200, 11'361'820'672, 0,
     "UMT5Block"},
    {"vit-large-patch16-224", "ViTForImageClassification", 304'326'632, 304'326'632, 1'217'306'528, 0,
     "ViTEmbeddings, ViTLayer"},
    {"whisper-large-v3", "WhisperForConditionalGeneration", 1'543'490'560, 1'609'879'040, 3'086'981'120, 163'840,
     "WhisperDecoderLayer, WhisperEncoderLayer"},
};

TEST(ClassicFamilies, EveryPublishedConfigGivesThePublishedCounts) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const Fact& fact : kFacts) {
    const Result<HfConfig> config = HfConfig::Read(JoinPath(shared, fmt::format("data/models/{}.json", fact.config)));
    ASSERT_TRUE(config) << config.error().message;
    const Result<Model> model = BuildModel(*config, fact.config);
    ASSERT_TRUE(model) << model.error().message;
    std::int64_t copies = 0;
    for (const Tensor& t : model->tensors) copies += t.tied_to == kNoId ? 0 : Elements(t.shape);
    EXPECT_EQ(model->class_name, fact.class_name) << fact.config;
    EXPECT_EQ(model->Parameters(), fact.parameters) << fact.config;
    EXPECT_EQ(model->Parameters() + copies, fact.with_copies) << fact.config;
    EXPECT_EQ(model->WeightBytes().value(), fact.bytes) << fact.config;
    EXPECT_EQ(CacheBytesPerPosition(*model).value(), fact.cache) << fact.config;
    EXPECT_EQ(Join(model->no_split_classes, ", "), fact.no_split) << fact.config;
  }
}

// Where the published files hold more than the model: FACTS.md's total is ours and what is named here, to the byte. A config
// does not tell it, the files' own headers do: they win where they are there.
TEST(ClassicFamilies, WhatPublishedFilesHoldBeyondTheModelIsKnown) {
  const auto total = [](const char* name, std::int64_t beyond) {
    const Result<Model> model = BuildModel(*HfConfig::Parse(name, "config.json"), "m");
    return model->CheckpointBytes().value() + beyond;
  };
  // A causal mask of fp32 [1, 1, 1024, 1024] in each of 12 layers.
  EXPECT_EQ(total(R"({"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12})", 12LL * 4 * 1024 * 1024),
            548'090'880);
  // lm_head.weight beside the word embeddings that it is tied to.
  EXPECT_EQ(total(R"({"model_type": "falcon", "num_hidden_layers": 60, "hidden_size": 8192, "num_attention_heads": 128,
                      "num_kv_heads": 8, "new_decoder_architecture": true, "torch_dtype": "bfloat16"})",
                  2LL * 65024 * 8192),
            83'671'941'120);
  EXPECT_EQ(total(R"({"model_type": "falcon", "num_hidden_layers": 80, "hidden_size": 14848, "num_attention_heads": 232,
                      "num_kv_heads": 8, "new_decoder_architecture": true, "torch_dtype": "bfloat16"})",
                  2LL * 65024 * 14848),
            359'045'130'240);
}

// FACTS.md again: the text encoders of the pipelines in the folder, by their parameters and the bytes of the dtype.
TEST(ClassicFamilies, TheTextEncodersOfPipelinesHaveThePublishedCounts) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  struct Encoder {
    const char* folder;  // under data/models
    const char* class_name;
    std::int64_t parameters;
    int width;  // bytes of a parameter
  };
  for (const Encoder& e : {Encoder{"cogvideox-2b/text_encoder", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"cogvideox-5b/text_encoder", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"flux.1-dev/text_encoder", "CLIPTextModel", 123'060'480, 2},
                           Encoder{"flux.1-dev/text_encoder_2", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"flux.1-schnell/text_encoder", "CLIPTextModel", 123'060'480, 2},
                           Encoder{"flux.1-schnell/text_encoder_2", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"hunyuanvideo/text_encoder", "LlamaModel", 7'505'186'816, 2},
                           Encoder{"hunyuanvideo/text_encoder_2", "CLIPTextModel", 123'060'480, 2},
                           Encoder{"mochi-1/text_encoder", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"sd3-medium/text_encoder_2", "CLIPTextModelWithProjection", 694'659'840, 2},
                           Encoder{"sd3-medium/text_encoder_3", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"sd3.5-large/text_encoder", "CLIPTextModelWithProjection", 123'650'304, 2},
                           Encoder{"sd3.5-large/text_encoder_2", "CLIPTextModelWithProjection", 694'659'840, 2},
                           Encoder{"sd3.5-large/text_encoder_3", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"sd3.5-medium/text_encoder", "CLIPTextModelWithProjection", 123'650'304, 2},
                           Encoder{"sd3.5-medium/text_encoder_2", "CLIPTextModelWithProjection", 694'659'840, 2},
                           Encoder{"sd3.5-medium/text_encoder_3", "T5EncoderModel", 4'762'310'656, 2},
                           Encoder{"sdxl-base/text_encoder", "CLIPTextModel", 123'060'480, 2},
                           Encoder{"sdxl-base/text_encoder_2", "CLIPTextModelWithProjection", 694'659'840, 2}}) {
    const std::string path = JoinPath(shared, fmt::format("data/models/{}/config.json", e.folder));
    const Result<HfConfig> config = HfConfig::Read(path);
    ASSERT_TRUE(config) << config.error().message;
    const Result<Model> model = BuildModel(*config, e.folder);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->class_name, e.class_name) << e.folder;
    EXPECT_EQ(model->Parameters(), e.parameters) << e.folder;
    EXPECT_EQ(model->CheckpointBytes().value(), e.width * e.parameters) << e.folder;
  }
}

// Names without what old writers stored of buffers; "lm_head" of a tied model is a copy, and GPT-NeoX's embed_out is
// lm_head in memory.
TEST(ClassicFamilies, RealIndexFilesNameTheSameTensors) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  struct Case {
    const char* index;
    const char* config;
    const char* prefix;  // to put before the names of the file
  };
  const std::string models = JoinPath(shared, "data/models/");
  const std::string redpajama =
      R"({"model_type": "gpt_neox", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
          "intermediate_size": 16384, "vocab_size": 50432, "rotary_pct": 1.0})";
  for (const Case& c :
       {Case{"bloom-176b.bin", "bloom-176b", "transformer."}, Case{"falcon-40b.bin", "falcon-40b", ""},
        Case{"falcon-40b.bin", "falcon-40b-RefinedWeb", ""}, Case{"redpajama-7b-float-total-size.bin", "", ""}}) {
    const auto index = ReadCheckpointIndex(JoinPath(shared, fmt::format("data/index/{}.json", c.index)));
    ASSERT_TRUE(index) << index.error().message;
    std::set<std::string> wanted;
    for (const auto& e : index->entries) {
      const std::string& n = e.tensor;
      if (n == "lm_head.weight" || n.ends_with(".attention.bias") || n.ends_with("masked_bias") ||
          n.ends_with("inv_freq"))
        continue;
      wanted.insert(n == "embed_out.weight" ? "lm_head.weight" : c.prefix + n);
    }
    const Model model =
        *c.config == '\0' ? Built(redpajama) : *BuildModel(*HfConfig::Read(models + c.config + ".json"), "m");
    std::set<std::string> ours;
    for (const Tensor& t : model.tensors) {
      if (t.persistent && t.tied_to == kNoId) ours.insert(t.name);
    }
    EXPECT_EQ(ours, wanted) << c.index;
  }
}

// Published counts: of T5 v1.1 and later with the head that its files hold, which the config's class ties.
TEST(ClassicFamilies, T5WithItsDecoderHasThePublishedCounts) {
  struct Size {
    const char* facts;
    std::int64_t parameters;
  };
  for (const Size& s :
       {Size{R"("d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8)", 60'506'624},
        Size{R"("d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12)", 222'903'552},
        Size{R"("d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16)", 737'668'096},
        Size{R"("d_model": 1024, "d_ff": 65536, "num_layers": 24, "num_heads": 128, "d_kv": 128)", 11'307'321'344},
        Size{R"("d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6, "feed_forward_proj": "gated-gelu",
                "tie_word_embeddings": false)",
             76'961'152},
        Size{R"("d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu",
                "tie_word_embeddings": false)",
             11'135'332'352}}) {
    Model model =
        Built(fmt::format(R"({{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], {}}})", s.facts));
    const std::int64_t table = model.shape.vocab * model.shape.hidden;
    EXPECT_EQ(model.tied_groups[0].size(), 4U);
    EXPECT_EQ(model.Parameters(), s.parameters - (model.forward.own_head_in_files ? table : 0)) << s.facts;
    if (!model.forward.own_head_in_files) continue;
    UntieHead(model);
    EXPECT_EQ(model.Parameters(), s.parameters) << s.facts;
  }
}

TEST(ClassicFamilies, FalconReadsTheKeysOfThePublishedCode) {
  const Model now = Built(R"({"model_type": "falcon", "num_hidden_layers": 2, "hidden_size": 64,
      "num_attention_heads": 4, "multi_query": true, "vocab_size": 100})");
  const Model then = Built(R"({"model_type": "RefinedWebModel", "architectures": ["RWForCausalLM"], "n_layer": 2,
      "hidden_size": 64, "n_head": 4, "multi_query": true, "vocab_size": 100})");
  ASSERT_EQ(now.tensors.size(), then.tensors.size());
  for (std::size_t i = 0; i < now.tensors.size(); ++i) {
    EXPECT_EQ(now.tensors[i].name, then.tensors[i].name);
    EXPECT_EQ(now.tensors[i].shape, then.tensors[i].shape);
  }
  EXPECT_EQ(then.family, "falcon");
  EXPECT_EQ(then.shape.kv_heads, 1);
}

TEST(ClassicFamilies, RefusesWhatTheClassCannotBuildNamingTheValue) {
  EXPECT_EQ(Refused(R"({"model_type": "bert", "is_decoder": true})"),
            "config.json: is_decoder is true, only encoders are supported");
  EXPECT_EQ(Refused(R"({"model_type": "bert", "chunk_size_feed_forward": 16})"),
            "config.json: chunk_size_feed_forward is 16, only 0, the MLP in one piece, is supported");
  EXPECT_EQ(Refused(R"({"model_type": "gpt2", "n_embd": 50, "n_head": 12})"),
            "config.json: hidden size 50 is not a multiple of 12 attention heads");
  EXPECT_EQ(Refused(R"({"model_type": "opt", "activation_function": "geglu"})"),
            "config.json: activation_function is \"geglu\", not an activation known here");
  EXPECT_EQ(
      Refused(R"({"model_type": "bloom", "architectures": ["BloomForTokenClassification"]})"),
      "config.json: architectures names BloomForTokenClassification, supported here: BloomForCausalLM, BloomModel");
  EXPECT_EQ(Refused(R"({"model_type": "falcon", "new_decoder_architecture": true, "num_kv_heads": 3})"),
            "config.json: num_kv_heads is 3, not a divisor of 71 attention heads");
  const std::string unknown = Refused(R"({"model_type": "zephyrnet"})");
  EXPECT_TRUE(unknown.starts_with("config.json: model_type is \"zephyrnet\", known are ")) << unknown;
  for (const std::string& family : KnownFamilies()) EXPECT_NE(unknown.find(family), std::string::npos) << family;
  EXPECT_EQ(Refused(R"({"model_type": "gptj", "n_layer": 0})"), "config.json: n_layer is 0, must be in [1, 10000]");
}

}  // namespace
}  // namespace stowage

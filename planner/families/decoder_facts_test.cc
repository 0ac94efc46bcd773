// Published counts of the decoder families, the names of real checkpoints, and what caches hold.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "planner/base/text.h"
#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

Result<Model> Read(const std::string& path) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(path));
  return BuildModel(config, "m");
}

Model Built(const std::string& text) {
  const Result<Model> model = BuildModel(*HfConfig::Parse(text, "config.json"), "m");
  EXPECT_TRUE(model) << model.error().message;
  return *model;
}

std::string Refused(const std::string& text) {
  const Result<Model> model = BuildModel(*HfConfig::Parse(text, "config.json"), "m");
  return model ? "accepted" : model.error().message;
}

// What a checkpoint of the model holds.
std::set<std::string> Saved(const Model& model) {
  std::set<std::string> names;
  for (const Tensor& t : model.tensors) {
    if (t.persistent && t.tied_to == kNoId) names.insert(t.name);
  }
  for (const Tensor& t : model.unloaded) names.insert(t.name);
  return names;
}

std::string ShapeOf(const Model& model, const std::string& tensor) {
  const TensorId id = model.FindTensor(tensor);
  return id == kNoId ? "none" : FormatShape(model.tensors[id].shape);
}

constexpr const char* kSiglip =
    "Gemma3DecoderLayer, SiglipVisionEmbeddings, SiglipEncoderLayer, SiglipMultiheadAttentionPoolingHead";

struct Fact {
  const char* config;  // under data/models
  const char* class_name;
  std::int64_t parameters;
  std::int64_t with_copies;
  std::int64_t bytes;  // of the checkpoint's tensors
  const char* no_split;
};

// FACTS.md of the folder. Its bytes of kimi-k2 are 6,832 more than its tensors have by the layout of deepseek-v3 (112 for
// each of 61 layers or shards, of unknown origin); the parameters agree.
constexpr Fact kFacts[] = {
    {"mistral-7b-v0.3", "MistralForCausalLM", 7'248'023'552, 7'248'023'552, 14'496'047'104, "MistralDecoderLayer"},
    {"mistral-small-24b", "MistralForCausalLM", 23'572'403'200, 23'572'403'200, 47'144'806'400, "MistralDecoderLayer"},
    {"devstral-small-24b", "MistralForCausalLM", 23'572'403'200, 23'572'403'200, 47'144'806'400, "MistralDecoderLayer"},
    {"mixtral-8x7b", "MixtralForCausalLM", 46'702'792'704, 46'702'792'704, 93'405'585'408, "MixtralDecoderLayer"},
    {"mixtral-8x22b", "MixtralForCausalLM", 140'620'634'112, 140'620'634'112, 281'241'268'224, "MixtralDecoderLayer"},
    {"qwen2.5-0.5b", "Qwen2ForCausalLM", 494'032'768, 630'167'424, 988'065'536, "Qwen2DecoderLayer"},
    {"qwen2.5-1.5b", "Qwen2ForCausalLM", 1'543'714'304, 1'777'088'000, 3'087'428'608, "Qwen2DecoderLayer"},
    {"qwen2.5-14b", "Qwen2ForCausalLM", 14'770'033'664, 14'770'033'664, 29'540'067'328, "Qwen2DecoderLayer"},
    {"qwen2.5-72b", "Qwen2ForCausalLM", 72'706'203'648, 72'706'203'648, 145'412'407'296, "Qwen2DecoderLayer"},
    {"qwen3-0.6b", "Qwen3ForCausalLM", 596'049'920, 751'632'384, 1'192'099'840, "Qwen3DecoderLayer"},
    {"qwen3-1.7b", "Qwen3ForCausalLM", 1'720'574'976, 2'031'739'904, 3'441'149'952, "Qwen3DecoderLayer"},
    {"qwen3-8b", "Qwen3ForCausalLM", 8'190'735'360, 8'190'735'360, 16'381'470'720, "Qwen3DecoderLayer"},
    {"qwen3-32b", "Qwen3ForCausalLM", 32'762'123'264, 32'762'123'264, 65'524'246'528, "Qwen3DecoderLayer"},
    {"qwen3-30b-a3b", "Qwen3MoeForCausalLM", 30'532'122'624, 30'532'122'624, 61'064'245'248, "Qwen3MoeDecoderLayer"},
    {"qwen3-235b-a22b", "Qwen3MoeForCausalLM", 235'093'634'560, 235'093'634'560, 470'187'269'120,
     "Qwen3MoeDecoderLayer"},
    {"qwen3-coder-480b-a35b", "Qwen3MoeForCausalLM", 480'154'875'392, 480'154'875'392, 960'309'750'784,
     "Qwen3MoeDecoderLayer"},
    {"gemma-2b", "GemmaForCausalLM", 2'506'172'416, 3'030'460'416, 5'012'344'832, "GemmaDecoderLayer"},
    {"gemma-2-2b", "Gemma2ForCausalLM", 2'614'341'888, 3'204'165'888, 10'457'367'552, "Gemma2DecoderLayer"},
    {"gemma-2-9b", "Gemma2ForCausalLM", 9'241'705'984, 10'159'209'984, 18'483'411'968, "Gemma2DecoderLayer"},
    {"gemma-3-1b", "Gemma3ForCausalLM", 999'885'952, 1'301'875'840, 1'999'771'904, kSiglip},
    {"gemma-3-12b", "Gemma3ForConditionalGeneration", 12'187'325'040, 13'194'203'760, 24'374'650'080, kSiglip},
    {"medgemma-27b", "Gemma3ForConditionalGeneration", 27'432'406'640, 28'842'036'848, 54'864'813'280, kSiglip},
    {"phi-3-mini", "Phi3ForCausalLM", 3'821'079'552, 3'821'079'552, 7'642'159'104, "Phi3DecoderLayer"},
    {"starcoder2-7b", "Starcoder2ForCausalLM", 7'173'923'840, 7'400'416'256, 14'347'847'680, "Starcoder2DecoderLayer"},
    {"olmo-2-7b", "Olmo2ForCausalLM", 7'298'617'344, 7'298'617'344, 29'194'469'376, "Olmo2DecoderLayer"},
    {"olmo-2-13b", "Olmo2ForCausalLM", 13'716'198'400, 13'716'198'400, 54'864'793'600, "Olmo2DecoderLayer"},
    {"smollm3-3b", "SmolLM3ForCausalLM", 3'075'098'624, 3'337'766'912, 6'150'197'248, "SmolLM3DecoderLayer"},
    {"deepseek-v3", "DeepseekV3ForCausalLM", 671'026'419'200, 671'026'419'200, 688'574'839'360,
     "DeepseekV3DecoderLayer"},
    {"deepseek-r1", "DeepseekV3ForCausalLM", 671'026'419'200, 671'026'419'200, 688'574'839'360,
     "DeepseekV3DecoderLayer"},
    {"kimi-k2", "DeepseekV3ForCausalLM", 1'026'408'232'448, 1'026'408'232'448, 1'029'173'249'888,
     "DeepseekV3DecoderLayer"},
    {"gpt-oss-20b", "GptOssForCausalLM", 20'914'757'184, 20'914'757'184, 13'761'264'768, "GptOssDecoderLayer"},
    {"gpt-oss-120b", "GptOssForCausalLM", 116'829'156'672, 116'829'156'672, 65'248'815'744, "GptOssDecoderLayer"},
};

TEST(DecoderFamilies, EveryPublishedConfigGivesThePublishedCounts) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const Fact& fact : kFacts) {
    const Result<Model> model = Read(JoinPath(shared, fmt::format("data/models/{}.json", fact.config)));
    ASSERT_TRUE(model) << model.error().message;
    std::int64_t copies = 0;
    for (const Tensor& t : model->tensors) copies += t.tied_to == kNoId ? 0 : Elements(t.shape);
    EXPECT_EQ(model->class_name, fact.class_name) << fact.config;
    EXPECT_EQ(model->Parameters(), fact.parameters) << fact.config;
    EXPECT_EQ(model->Parameters() + copies, fact.with_copies) << fact.config;
    EXPECT_EQ(model->CheckpointBytes().value(), fact.bytes) << fact.config;
    EXPECT_EQ(Join(model->no_split_classes, ", "), fact.no_split) << fact.config;
  }
}

TEST(DecoderFamilies, DeepSeekV3HasThePublishedBytesPerDtype) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  const Result<Model> model = Read(JoinPath(shared, "data/models/deepseek-v3.json"));
  ASSERT_TRUE(model) << model.error().message;
  std::int64_t fp8 = 0, bf16 = 0, fp32 = 0;  // elements
  const auto count = [&](const Tensor& t) {
    (t.dtype == DType::kF8E4M3 ? fp8 : t.dtype == DType::kBF16 ? bf16 : fp32) += Elements(t.shape);
  };
  for (const Tensor& t : model->tensors) {
    if (t.persistent) count(t);
  }
  for (const Tensor& t : model->unloaded) count(t);
  EXPECT_EQ(fp8, 680'571'043'840);
  EXPECT_EQ(bf16, 3'918'786'560);
  EXPECT_EQ(fp32, 41'555'600);
}

TEST(DecoderFamilies, RealIndexFilesNameTheSameTensors) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  struct Case {
    const char* index;
    const char* config;  // a file under data/models, or JSON
  };
  const std::string qwen3b = R"({"model_type": "qwen2", "num_hidden_layers": 36, "tie_word_embeddings": true})";
  for (const Case& c : {Case{"devstral-small-24b", "devstral-small-24b"}, Case{"gemma-2b", "gemma-2b"},
                        Case{"gpt-oss-20b-mxfp4", "gpt-oss-20b"}, Case{"medgemma-27b", "medgemma-27b"},
                        Case{"mixtral-8x7b-dolphin", "mixtral-8x7b"}, Case{"phi-3-mini", "phi-3-mini"},
                        Case{"qwen2.5-14b", "qwen2.5-14b"}, Case{"qwen2.5-3b", ""}, Case{"smollm3-3b", "smollm3-3b"}}) {
    const auto index = ReadCheckpointIndex(JoinPath(shared, fmt::format("data/index/{}.json", c.index)));
    ASSERT_TRUE(index) << index.error().message;
    std::set<std::string> wanted;
    for (const auto& e : index->entries) wanted.insert(e.tensor);
    const Result<Model> model =
        *c.config == '\0' ? Built(qwen3b) : Read(JoinPath(shared, fmt::format("data/models/{}.json", c.config)));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(Saved(*model), wanted) << c.index;
  }
}

// Checkpoints written by transformers 5.23: every tensor is there with its shape, and nothing else.
TEST(DecoderFamilies, EveryGoldenFolderAgreesWithItsConfig) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  for (const char* name : {"mistral", "mixtral", "qwen2", "qwen3", "qwen3-moe", "gemma2", "gemma3", "phi3",
                           "deepseek-v2", "deepseek-v3", "deepseek-v3-fp8", "gpt-oss", "gpt-oss-mxfp4"}) {
    const std::string folder = JoinPath(shared, fmt::format("data/golden/{}", name));
    const auto checkpoint = ReadCheckpoint(*FindCheckpoint(folder));
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    for (const char* file : {"config.json", "config.classic.json"}) {
      if (!IsFile(JoinPath(folder, file))) continue;
      Result<Model> model = Read(JoinPath(folder, file));
      ASSERT_TRUE(model) << model.error().message;
      const Model before = *model;
      const Status attached = AttachCheckpoint(*model, *checkpoint, name);
      EXPECT_TRUE(attached) << attached.error().message;
      for (std::size_t i = 0; i < before.tensors.size(); ++i) {
        EXPECT_EQ(before.tensors[i].dtype, model->tensors[i].dtype) << name << " " << before.tensors[i].name;
      }
    }
  }
}

// kept_bytes of data/traces/language.json: the caches after one step past 512 positions, and a row of logits.
TEST(DecoderFamilies, CachesHoldWhatTransformersWasMeasuredToKeep) {
  const char* shared = std::getenv("STOWAGE_SHARED");
  if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
  struct Kept {
    const char* config;
    std::int64_t bytes;
  };
  for (const Kept& k :
       {Kept{"deepseek-v3", 36'308'096}, Kept{"gemma-2-9b", 177'016'832}, Kept{"gemma-3-1b", 14'159'872},
        Kept{"gpt-oss-20b", 16'155'392}, Kept{"llama-4-scout-17b-16e", 101'264'000},
        Kept{"mistral-7b-v0.3", 67'305'472}, Kept{"mixtral-8x7b", 67'303'936}, Kept{"olmo-2-7b", 269'160'448},
        Kept{"phi-3-mini", 201'783'936}, Kept{"qwen2.5-1.5b", 15'012'608}, Kept{"qwen3-30b-a3b", 50'733'824},
        Kept{"qwen3-8b", 75'948'800}, Kept{"smollm3-3b", 38'078'976}, Kept{"starcoder2-7b", 33'718'272}}) {
    Result<Model> model = Read(JoinPath(shared, fmt::format("data/models/{}.json", k.config)));
    ASSERT_TRUE(model) << model.error().message;
    SetDType(*model, DType::kBF16);
    EXPECT_EQ(CacheBytes(*model, 513).value() + 2 * model->shape.vocab, k.bytes) << k.config;
  }
}

// Which from_pretrained(dtype=) of transformers 5.23 left in fp32, for tiny models of every family in three dtypes.
TEST(DecoderFamilies, WhatFromPretrainedKeepsInFp32IsNamedByTheFamily) {
  const auto kept = [](const std::string& config, DType dtype) {
    Model model = Built(config);
    SetDType(model, dtype);
    const std::int64_t changed = KeepInFp32(model);
    std::set<std::string> names;  // without the layer
    for (const Tensor& t : model.tensors) {
      if (dtype == DType::kF32 || t.buffer || t.dtype != DType::kF32) continue;
      const std::size_t dot = t.name.rfind('.', t.name.rfind('.') - 1);
      names.insert(t.name.substr(dot + 1));
    }
    return fmt::format("{}: {}", changed, fmt::join(names, " "));
  };
  const std::string t5 = R"({"model_type": "t5", "num_layers": 3, "architectures": ["T5ForConditionalGeneration"]})";
  EXPECT_EQ(kept(t5, DType::kF16), "6: wo.weight");
  EXPECT_EQ(kept(t5, DType::kBF16), "0: ");
  EXPECT_EQ(kept(R"({"model_type": "umt5", "num_layers": 2, "architectures": ["UMT5EncoderModel"]})", DType::kF16),
            "2: wo.weight");
  const std::string gpt_oss = R"({"model_type": "gpt_oss", "num_hidden_layers": 2})";
  EXPECT_EQ(kept(gpt_oss, DType::kF16), "5: input_layernorm.weight norm.weight post_attention_layernorm.weight");
  EXPECT_EQ(kept(gpt_oss, DType::kBF16), "0: ");
  const std::string v3 = R"({"model_type": "deepseek_v3", "num_hidden_layers": 2, "first_k_dense_replace": 1,
                            "num_nextn_predict_layers": 0})";
  EXPECT_EQ(kept(v3, DType::kF16), "1: gate.e_score_correction_bias");
  EXPECT_EQ(kept(v3, DType::kBF16), "1: gate.e_score_correction_bias");
  EXPECT_EQ(kept(v3, DType::kF32), "0: ");
  EXPECT_EQ(kept(R"({"model_type": "mistral", "num_hidden_layers": 1})", DType::kF16), "0: ");
}

TEST(DecoderFamilies, AbsentKeysTakeTheDefaultsOfTheClassAndNullMeansNone) {
  const Model mistral = Built(R"({"model_type": "mistral"})");
  EXPECT_EQ(mistral.Parameters(), 7'241'732'096);
  EXPECT_EQ(mistral.shape.windows, std::vector<std::int64_t>(32, 4096));
  EXPECT_TRUE(Built(R"({"model_type": "mistral", "sliding_window": null})").shape.windows.empty());
  EXPECT_TRUE(Built(R"({"model_type": "gemma2", "num_hidden_layers": 1})").tied_groups.size() == 1);
  EXPECT_TRUE(
      Built(R"({"model_type": "cohere", "num_hidden_layers": 1, "tie_word_embeddings": false})").tied_groups.empty());
}

TEST(DecoderFamilies, SlidingLayersFollowThePatternOfTheFamily) {
  using Windows = std::vector<std::int64_t>;
  EXPECT_EQ(Built(R"({"model_type": "gemma2", "num_hidden_layers": 3})").shape.windows, (Windows{4096, 0, 4096}));
  EXPECT_EQ(Built(R"({"model_type": "gemma3_text", "num_hidden_layers": 4, "sliding_window_pattern": 2,
                      "sliding_window": 8})")
                .shape.windows,
            (Windows{8, 0, 8, 0}));
  EXPECT_EQ(Built(R"({"model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": true, "sliding_window": 16,
                      "max_window_layers": 2})")
                .shape.windows,
            (Windows{0, 0, 16}));
  EXPECT_EQ(Built(R"({"model_type": "gpt_oss", "num_hidden_layers": 2, "layer_types": ["full_attention",
                      "sliding_attention"]})")
                .shape.windows,
            (Windows{0, 128}));
  EXPECT_EQ(Refused(R"({"model_type": "gpt_oss", "num_hidden_layers": 2, "layer_types": ["full_attention"]})"),
            "config.json: layer_types has 1 entries for 2 layers");
}

TEST(DecoderFamilies, DenseLayersStandWhereTheConfigPutsThem) {
  const Model qwen = Built(R"({"model_type": "qwen3_moe", "num_hidden_layers": 4, "decoder_sparse_step": 2,
      "mlp_only_layers": [3], "num_experts": 3})");
  EXPECT_EQ(ShapeOf(qwen, "model.layers.0.mlp.gate_proj.weight"), "[6144, 2048]");
  EXPECT_EQ(ShapeOf(qwen, "model.layers.1.mlp.experts.2.down_proj.weight"), "[2048, 768]");
  EXPECT_EQ(ShapeOf(qwen, "model.layers.3.mlp.gate_proj.weight"), "[6144, 2048]");
  const Model v2 = Built(R"({"model_type": "deepseek_v2", "num_hidden_layers": 2, "first_k_dense_replace": 1,
      "q_lora_rank": null, "n_routed_experts": 2, "n_shared_experts": 3, "moe_intermediate_size": 10})");
  EXPECT_EQ(ShapeOf(v2, "model.layers.0.mlp.up_proj.weight"), "[11008, 4096]");
  EXPECT_EQ(ShapeOf(v2, "model.layers.1.mlp.shared_experts.up_proj.weight"), "[30, 4096]");
  EXPECT_EQ(ShapeOf(v2, "model.layers.1.self_attn.q_proj.weight"), "[6144, 4096]");
  EXPECT_EQ(ShapeOf(v2, "model.layers.1.mlp.gate.e_score_correction_bias"), "none");
  const Model llama4 =
      Built(R"({"model_type": "llama4_text", "num_hidden_layers": 2, "interleave_moe_layer_step": 2})");
  EXPECT_EQ(ShapeOf(llama4, "model.layers.0.feed_forward.up_proj.weight"), "[16384, 5120]");
  EXPECT_EQ(ShapeOf(llama4, "model.layers.1.feed_forward.experts.gate_up_proj"), "[16, 5120, 16384]");
}

TEST(DecoderFamilies, Fp8StoresAScalePerBlockAndLeavesWhatTheConfigNames) {
  const Model m =
      Built(R"({"model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 192, "torch_dtype": "bfloat16",
      "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128],
      "modules_to_not_convert": ["lm_head", "model.layers.1.mlp"]}})");
  const Tensor& q = m.tensors[m.FindTensor("model.layers.0.self_attn.q_proj.weight")];
  EXPECT_EQ(q.dtype, DType::kF8E4M3);
  EXPECT_EQ(ShapeOf(m, "model.layers.0.self_attn.q_proj.weight_scale_inv"), "[32, 2]");
  EXPECT_EQ(ShapeOf(m, "model.layers.1.mlp.up_proj.weight_scale_inv"), "none");
  const Model plain = Built(R"({"model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 192})");
  EXPECT_EQ(m.Parameters(), plain.Parameters());
}

TEST(StoredScheme, IsNamedByTheConfigWhereNoFamilyDescribesTheTensors) {
  const auto scheme = [](const std::string& quantization, const std::string& type = "qwen3") {
    const std::string config = fmt::format(
        R"({{"model_type": "{}", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 8,
            "num_attention_heads": 1, "num_key_value_heads": 1, "quantization_config": {}}})",
        type, quantization);
    const Result<Model> model = BuildModel(*HfConfig::Parse(config, "c"), "m");
    return model ? model->stored_scheme : model.error().message;
  };
  EXPECT_EQ(scheme(R"({"quant_method": "gptq", "bits": 4, "group_size": 128})"), "gptq");
  EXPECT_EQ(scheme(R"({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"})", "llama"), "awq");
  EXPECT_EQ(scheme(R"({"load_in_8bit": true})", "llama"), "int8");
  EXPECT_EQ(scheme(R"({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
                       "bnb_4bit_use_double_quant": true})"),
            "nf4-double");
  EXPECT_EQ(scheme(R"({"quant_method": "fp8", "weight_block_size": [128, 128]})"), "");
  EXPECT_EQ(scheme(R"({"quant_method": "fp8", "weight_block_size": [128, 128]})", "llama"), "fp8");
  EXPECT_EQ(scheme(R"({"quant_method": "gptq", "bits": 8})"),
            "c: quantization_config.bits is 8, without files only 4 is known for gptq");
  EXPECT_EQ(scheme(R"({"quant_method": "compressed-tensors"})", "llama"),
            "c: quantization_config.quant_method is \"compressed-tensors\", known without files are awq, bitsandbytes, "
            "fp8, gptq and mxfp4");
}

TEST(DecoderFamilies, PredictionLayersAreInTheFileOnly) {
  const Model m = Built(R"({"model_type": "deepseek_v3", "num_hidden_layers": 4, "hidden_size": 64,
      "num_attention_heads": 2, "n_routed_experts": 2, "num_nextn_predict_layers": 1})");
  EXPECT_EQ(m.FindModule("model.layers.4"), kNoId);
  EXPECT_EQ(m.unloaded[0].name, "model.layers.4.embed_tokens.weight");
  EXPECT_EQ(m.unloaded[3].name, "model.layers.4.eh_proj.weight");
  EXPECT_EQ(FormatShape(m.unloaded[3].shape), "[64, 128]");
  EXPECT_EQ(m.unloaded.back().name, "model.layers.4.shared_head.head.weight");
}

TEST(DecoderFamilies, RefusesWhatItCannotDescribe) {
  EXPECT_EQ(Refused(R"({"model_type": "mistral", "architectures": ["MistralForSequenceClassification"]})"),
            "config.json: architectures names MistralForSequenceClassification, supported for mistral are "
            "MistralForCausalLM and MistralModel");
  EXPECT_EQ(Refused(R"({"model_type": "mixtral", "num_hidden_layers": 10000, "num_local_experts": 100})"),
            "config.json: 10000 layers of 100 experts are beyond 131072 experts");
  EXPECT_EQ(Refused(R"({"model_type": "phi3", "num_key_value_heads": 5})"),
            "config.json: num_key_value_heads is 5, not a divisor of num_attention_heads 32");
}

}  // namespace
}  // namespace stowage

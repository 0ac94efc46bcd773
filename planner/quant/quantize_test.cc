#include "planner/quant/quantize.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "planner/formats/file.h"
#include "planner/quant/ggml_mix.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

Bytes BytesBy(const Model& model, std::string_view scheme) {
  const auto bytes = QuantizedWeightBytes(model, FactsOf(model), *FindScheme(scheme));
  EXPECT_TRUE(bytes) << bytes.error().message;
  return bytes ? *bytes : Bytes(0);
}

Model QuantizedZoo(std::string_view name, std::string_view scheme) {
  Model model = *ZooModel(name);
  const Status status = Quantize(model, *FindScheme(scheme));
  EXPECT_TRUE(status) << status.error().message;
  return model;
}

std::string TypeOf(const Model& model, const char* tensor) {
  const TensorId id = model.FindTensor(tensor);
  return id == kNoId ? "absent" : std::string(Name(model.tensors[id].dtype));
}

// shared/data/index/llama-3.1-8b-bnb-int8.json: 11,188,584,672 bytes, of which 224 are one byte of weight_format a
// Linear, in files only. Its embedding, head and norms are in fp32.
TEST(Quantize, Int8IsAPublishedLlama8B) {
  Model model = *ZooModel("llama-8b");
  ASSERT_TRUE(ApplyFormat(model, {.dtype = DType::kF32, .quantization = "int8"}));
  EXPECT_EQ(model.WeightBytes(), Bytes(11'188'584'672 - 224));
}

// shared/data/index/qwen-7b-chat-int4-gptq.json: 5,860,564,992 bytes: 32 layers of hidden size 4096 and width 11008,
// vocabulary 151936, two norms a layer and one at the end. Its fp16 biases, one to every Linear, are GPTQ's own.
TEST(Quantize, GptqIsAPublishedQwen7B) {
  Model model;
  model.no_split_classes = {"QWenBlock"};
  model.modules = {{"", "QWenLMHeadModel", kNoId, {}, {}}, {"h.0", "QWenBlock", 0, {}, {}}};
  const auto add = [&](const char* name, const char* class_name, ModuleId parent, Shape shape, bool bias) {
    const auto module = static_cast<ModuleId>(model.modules.size());
    model.modules.push_back({name, class_name, parent, {}, {}});
    if (bias) {
      model.tensors.push_back(
          {.name = std::string(name) + ".bias", .shape = {shape[0]}, .dtype = DType::kF16, .module = module});
    }
    model.tensors.push_back(
        {.name = std::string(name) + ".weight", .shape = std::move(shape), .dtype = DType::kF16, .module = module});
  };
  add("wte", "Embedding", 0, {151'936, 4096}, false);
  for (int layer = 0; layer < 32; ++layer) {
    for (int norm = 0; norm < 2; ++norm) add("h.0.ln", "RMSNorm", 1, {4096}, false);
    add("h.0.attn.c_attn", "Linear", 1, {3 * 4096, 4096}, true);
    add("h.0.attn.c_proj", "Linear", 1, {4096, 4096}, true);
    add("h.0.mlp.w1", "Linear", 1, {11'008, 4096}, true);
    add("h.0.mlp.w2", "Linear", 1, {11'008, 4096}, true);
    add("h.0.mlp.c_proj", "Linear", 1, {4096, 11'008}, true);
  }
  add("ln_f", "RMSNorm", 0, {4096}, false);
  add("lm_head", "Linear", 0, {151'936, 4096}, false);
  EXPECT_EQ(BytesBy(model, "gptq"), Bytes(5'860'564'992));
}

// llama-quantize --help: sizes of Llama-3-8B files in GiB to two digits, metadata (7.8 MB, most of it the tokenizer)
// included.
TEST(Quantize, GgufSizesAreThoseThatLlamaQuantizePrints) {
  struct Printed {
    const char* scheme;
    double gib;
  };
  const Model model = *ZooModel("llama-8b");
  for (const Printed& row :
       {Printed{"q2_k", 2.96}, Printed{"q3_k_s", 3.41}, Printed{"q3_k_m", 3.74}, Printed{"q3_k_l", 4.03},
        Printed{"q4_k_s", 4.37}, Printed{"q4_k_m", 4.58}, Printed{"q5_k_s", 5.21}, Printed{"q5_k_m", 5.33},
        Printed{"q6_k", 6.14}, Printed{"q8_0", 7.96}}) {
    const double gib = static_cast<double>(BytesBy(model, row.scheme).value() + 7'800'000) / (1 << 30);
    EXPECT_NEAR(gib, row.gib, 0.01) << row.scheme;
  }
}

TEST(Quantize, Q4KMGivesMoreBitsToTheFirstLastAndEveryThirdLayer) {
  const Model model = QuantizedZoo("llama-8b", "q4_k_m");
  std::string more;
  for (int layer = 0; layer < 32; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    const bool down = TypeOf(model, (prefix + "mlp.down_proj.weight").c_str()) == "q6_k";
    const bool value = TypeOf(model, (prefix + "self_attn.v_proj.weight").c_str()) == "q6_k";
    EXPECT_EQ(down, value) << layer;
    if (down) more += fmt::format(" {}", layer);
  }
  EXPECT_EQ(more, " 0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31");
  EXPECT_EQ(TypeOf(model, "model.embed_tokens.weight"), "q4_k");
  EXPECT_EQ(TypeOf(model, "lm_head.weight"), "q6_k");
  EXPECT_EQ(TypeOf(model, "model.norm.weight"), "fp32");
}

TEST(Quantize, ATableThatIsTheHeadTooGetsTheHeadsType) {
  const Model model = QuantizedZoo("llama-1b", "q4_k_m");
  EXPECT_EQ(TypeOf(model, "model.embed_tokens.weight"), "q6_k");
  EXPECT_EQ(TypeOf(model, "lm_head.weight"), "q6_k");
}

TEST(GgmlMix, ARowThatIsNoMultipleOfTheBlockTakesTheNextType) {
  EXPECT_EQ(FallbackFor(DType::kQ4_K, 4096), DType::kQ4_K);
  EXPECT_EQ(FallbackFor(DType::kQ4_K, 2880), DType::kQ5_0);
  EXPECT_EQ(FallbackFor(DType::kQ5_K, 2880), DType::kQ5_1);
  EXPECT_EQ(FallbackFor(DType::kQ6_K, 2880), DType::kQ8_0);
  EXPECT_EQ(FallbackFor(DType::kQ2_K, 2880), DType::kQ4_0);
  EXPECT_EQ(FallbackFor(DType::kQ8_0, 2890), DType::kF16);
}

TEST(Quantize, BitsandbytesKeepsHeadTableNormsAndRouters) {
  const Model model = QuantizedZoo("mixtral-8x7b", "nf4");
  EXPECT_EQ(TypeOf(model, "lm_head.weight"), "bf16");
  EXPECT_EQ(TypeOf(model, "model.embed_tokens.weight"), "bf16");
  EXPECT_EQ(TypeOf(model, "model.norm.weight"), "bf16");
  EXPECT_EQ(TypeOf(model, "model.layers.0.self_attn.q_proj.weight"), "nf4");
  std::map<std::string, int> routers;
  const std::vector<TensorFacts> facts = FactsOf(model);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (facts[i].role == TensorRole::kRouter) ++routers[std::string(Name(model.tensors[i].dtype))];
  }
  EXPECT_EQ(routers, (std::map<std::string, int>{{"bf16", 32}}));
  EXPECT_EQ(model.ComputeDType(), DType::kBF16);
}

// absmax: 2 MiB of 4-byte scales, or 1-byte ones with 2048 4-byte scales of theirs; codes of 16 and 256 values.
TEST(Quantize, DoubleQuantizationShrinksTheScales) {
  const auto projection = [](std::string_view scheme) {
    const Model model = QuantizedZoo("llama-8b", scheme);
    return model.tensors[model.FindTensor("model.layers.0.self_attn.q_proj.weight")];
  };
  const std::int64_t n = 4096 * 4096;
  EXPECT_EQ(projection("nf4").bytes(), Bytes(n / 2 + n / 64 * 4 + 64));
  EXPECT_EQ(projection("nf4-double").bytes(), Bytes(n / 2 + n / 64 + n / 64 / 256 * 4 + 1024 + 4 + 64));
  EXPECT_EQ(projection("nf4").shape, (Shape{4096, 4096}));
}

TEST(Quantize, ConservesParametersAndSumsToTheSameBytes) {
  for (const char* name : {"llama-8b", "mixtral-8x7b", "gemma-2-2b", "gpt2", "falcon-7b"}) {
    const Model plain = *ZooModel(name);
    for (const QuantScheme& scheme : QuantSchemes()) {
      Model model = plain;
      const auto bytes = QuantizedWeightBytes(plain, FactsOf(plain), scheme);
      EXPECT_EQ(Quantize(model, scheme).ok(), bytes.ok()) << name << " " << scheme.name;
      if (!bytes) continue;
      EXPECT_EQ(model.Parameters(), plain.Parameters()) << name << " " << scheme.name;
      EXPECT_EQ(model.WeightBytes(), *bytes) << name << " " << scheme.name;
    }
  }
}

TEST(Quantize, LeavesQuantizedModelsAlone) {
  Model fp8 = *ZooModel("deepseek-v3");
  EXPECT_EQ(Quantize(fp8, *FindScheme("nf4")).error().message,
            "deepseek-v3 is quantized already ('model.layers.0.self_attn.q_a_proj.weight_scale_inv' is fp32): --dtype "
            "auto keeps it");
  Model llama = *ZooModel("llama-8b");
  EXPECT_EQ(Quantize(llama, *FindScheme("mxfp4")).error().message,
            "mxfp4 (mxfp4 experts, blocks of 32) quantizes nothing of llama-3.1-8b");
}

TEST(ApplyFormat, WithoutFilesTakesTheSchemeThatTheConfigNamesUnlessAnotherFormatIsAskedFor) {
  Model model = *ZooModel("llama-3.1-8b");
  model.stored_scheme = "gptq";
  Model in_fp16 = model, in_nf4 = model, with_files = model;
  with_files.files = {"model.safetensors"};
  ASSERT_TRUE(ApplyFormat(model, {}));
  EXPECT_EQ(model.WeightBytes(), BytesBy(*ZooModel("llama-3.1-8b"), "gptq"));
  ASSERT_TRUE(ApplyFormat(in_fp16, {.dtype = DType::kF16}));
  EXPECT_EQ(in_fp16.quantization, "");
  ASSERT_TRUE(ApplyFormat(in_nf4, {.quantization = "nf4"}));
  EXPECT_EQ(in_nf4.quantization, "nf4");
  ASSERT_TRUE(ApplyFormat(with_files, {}));
  EXPECT_EQ(with_files.quantization, "");
}

TEST(Quantize, Fp32WasteIsHalfOfABf16Model) {
  EXPECT_EQ(WasteOfFp32(*ZooModel("llama-8b")), Bytes(16'060'522'496));
  EXPECT_EQ(WasteOfFp32(*ZooModel("gpt2")), Bytes(0));
  EXPECT_EQ(WasteOfFp32(QuantizedZoo("llama-8b", "q8_0")), Bytes(0));
}

// One line a kind of tensor of a layer and one for the rest, for three schemes: what changes, changes here first.
TEST(Quantize, GoldenOfADenseModelAndAMixture) {
  std::string text;
  for (const char* name : {"llama-8b", "mixtral-8x7b"}) {
    for (const QuantScheme& scheme : QuantSchemes()) {
      Model model = *ZooModel(name);
      if (!Quantize(model, scheme)) continue;
      std::map<std::string, std::pair<std::int64_t, std::int64_t>> kinds;
      for (const Tensor& t : model.tensors) {
        if (t.buffer || t.tied_to != kNoId) continue;
        auto& [count, bytes] = kinds[std::string(Name(t.dtype))];
        ++count;
        bytes += t.bytes().value();
      }
      text += fmt::format("{} {} {}:", name, scheme.name, model.WeightBytes().value());
      for (const auto& [dtype, sum] : kinds) text += fmt::format(" {} {} in {}", dtype, sum.second, sum.first);
      text += "\n";
    }
  }
  const auto golden = ReadTextFile("planner/quant/goldens/models.txt", 1 << 20);
  ASSERT_TRUE(golden) << golden.error().message;
  EXPECT_EQ(text, *golden);
}

}  // namespace
}  // namespace stowage

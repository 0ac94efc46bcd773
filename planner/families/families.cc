#include "planner/families/families.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/decoder_families.h"
#include "planner/families/llama.h"

namespace stowage {
namespace {

constexpr std::int64_t kMaxRows = std::int64_t{1} << 31;  // batch * positions; keeps every byte count inside 64 bits

Status CheckPass(const Pass& pass, std::int64_t cache_positions) {
  const auto bad = [&](std::string text) {
    return Error{ErrorCode::kInvalidInput, pass.Name() + ": " + std::move(text)};
  };
  if (pass.batch < 1) return bad(fmt::format("batch is {}, must be at least 1", pass.batch));
  if (pass.tokens < 1) return bad(fmt::format("tokens is {}, must be at least 1", pass.tokens));
  if (pass.past < 0) return bad(fmt::format("past is {}, must be at least 0", pass.past));
  if (pass.tokens > cache_positions || pass.past > cache_positions - pass.tokens) {
    return bad(fmt::format("needs {} positions, the cache has {}", pass.past + pass.tokens, cache_positions));
  }
  if (cache_positions > kMaxRows / pass.batch) {
    return bad(fmt::format("{} positions x batch {} is beyond {}", cache_positions, pass.batch, kMaxRows));
  }
  return OkStatus();
}

Result<Model> BuildLlamaModel(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const LlamaConfig llama, ReadLlamaConfig(config));
  return BuildLlama(llama, std::move(name));
}

struct Family {
  const char* model_type;
  Result<Model> (*build)(const HfConfig& config, std::string name);
};

constexpr Family kFamilies[] = {
    {"llama", BuildLlamaModel},
    {"mistral", BuildMistral},
    {"mixtral", BuildMixtral},
    {"qwen2", BuildQwen2},
    {"qwen3", BuildQwen3},
    {"qwen3_moe", BuildQwen3Moe},
    {"gemma", BuildGemma},
    {"gemma2", BuildGemma2},
    {"gemma3_text", BuildGemma3Text},
    {"gemma3", BuildGemma3},
    {"phi3", BuildPhi3},
    {"starcoder2", BuildStarcoder2},
    {"olmo2", BuildOlmo2},
    {"smollm3", BuildSmolLm3},
    {"cohere", BuildCohere},
    {"deepseek_v2", BuildDeepseek},
    {"deepseek_v3", BuildDeepseek},
    {"kimi_k2", BuildDeepseek},
    {"gpt_oss", BuildGptOss},
    {"llama4_text", BuildLlama4Text},
    {"llama4", BuildLlama4},
};

}  // namespace

Result<Model> BuildModel(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const std::string type, config.String("model_type"));
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    if (type == family.model_type) return family.build(config, std::move(name));
    known.emplace_back(family.model_type);
  }
  return config.Bad("model_type", fmt::format("is \"{}\", supported are {}", type, Join(known, ", ")));
}

Result<OpGraph> BuildOpGraph(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  STOWAGE_RETURN_IF_ERROR(CheckPass(pass, cache_positions));
  if (model.family == "llama") return BuildLlamaOpGraph(model, pass, cache_positions);
  return Error{ErrorCode::kInvalidInput,
               fmt::format("model '{}': no op graph for family '{}' yet", model.name, model.family)};
}

void SetDType(Model& model, DType dtype) {
  for (Tensor& t : model.tensors) {
    if (!t.buffer && IsFloating(t.dtype)) t.dtype = dtype;
  }
}

Bytes CacheBytesPerPosition(const Model& model) {
  const TransformerShape& s = model.shape;
  const DType dtype = model.tensors.empty() ? DType::kF32 : model.tensors[0].dtype;
  return 2 * s.layers * SizeOf(dtype, s.kv_heads * s.head_dim);
}

}  // namespace stowage

#include "planner/families/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/bert.h"
#include "planner/families/bloom.h"
#include "planner/families/clip_text.h"
#include "planner/families/decoder_families.h"
#include "planner/families/falcon.h"
#include "planner/families/gpt2.h"
#include "planner/families/gpt_neox.h"
#include "planner/families/gptj.h"
#include "planner/families/llama.h"
#include "planner/families/ops/decoder_ops.h"
#include "planner/families/opt.h"
#include "planner/families/t5.h"
#include "planner/families/vit.h"
#include "planner/families/whisper.h"

namespace stowage {
namespace {

constexpr std::int64_t kMaxRows = std::int64_t{1} << 31;  // batch * positions; keeps every byte count inside 64 bits

Status CheckPass(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  const auto bad = [&](std::string text) {
    return Error{ErrorCode::kInvalidInput, pass.Name() + ": " + std::move(text)};
  };
  if (pass.batch < 1) return bad(fmt::format("batch is {}, must be at least 1", pass.batch));
  if (pass.tokens < 1) return bad(fmt::format("tokens is {}, must be at least 1", pass.tokens));
  if (pass.past < 0) return bad(fmt::format("past is {}, must be at least 0", pass.past));
  if (pass.tokens > cache_positions || pass.past > cache_positions - pass.tokens) {
    return bad(fmt::format("needs {} positions, the cache has {}", pass.past + pass.tokens, cache_positions));
  }
  for (const std::int64_t window : model.shape.windows) {
    if (pass.past > 0 && pass.tokens > 1 && window > 0 && window < cache_positions) {
      return bad(
          fmt::format("{} tokens after {}, over a window of {}: only a first or a single token's pass is described",
                      pass.tokens, pass.past, window));
    }
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

// One line per model_type, by name.
constexpr auto kFamilies = std::to_array<Family>({
    {"bert", BuildBert},
    {"bloom", BuildBloom},
    {"clip", BuildClipText},
    {"clip_text_model", BuildClipText},
    {"cohere", BuildCohere},
    {"deepseek_v2", BuildDeepseek},
    {"deepseek_v3", BuildDeepseek},
    {"falcon", BuildFalcon},
    {"gemma", BuildGemma},
    {"gemma2", BuildGemma2},
    {"gemma3", BuildGemma3},
    {"gemma3_text", BuildGemma3Text},
    {"gpt2", BuildGpt2},
    {"gpt_neox", BuildGptNeoX},
    {"gpt_oss", BuildGptOss},
    {"gptj", BuildGptJ},
    {"kimi_k2", BuildDeepseek},
    {"llama", BuildLlamaModel},
    {"llama4", BuildLlama4},
    {"llama4_text", BuildLlama4Text},
    {"mistral", BuildMistral},
    {"mixtral", BuildMixtral},
    {"mt5", BuildT5},
    {"olmo2", BuildOlmo2},
    {"opt", BuildOpt},
    {"phi3", BuildPhi3},
    {"qwen2", BuildQwen2},
    {"qwen3", BuildQwen3},
    {"qwen3_moe", BuildQwen3Moe},
    {"RefinedWeb", BuildFalcon},
    {"RefinedWebModel", BuildFalcon},
    {"smollm3", BuildSmolLm3},
    {"starcoder2", BuildStarcoder2},
    {"t5", BuildT5},
    {"umt5", BuildT5},
    {"vit", BuildVit},
    {"whisper", BuildWhisper},
});

}  // namespace

Result<Model> BuildModel(const HfConfig& config, std::string name) {
  STOWAGE_TRY(const std::string type, config.String("model_type"));
  for (const Family& family : kFamilies) {
    if (type == family.model_type) return family.build(config, std::move(name));
  }
  return config.Bad("model_type", fmt::format("is \"{}\", known are {}", type, Join(KnownFamilies(), ", ")));
}

std::vector<std::string> KnownFamilies() {
  std::vector<std::string> out;
  for (const Family& family : kFamilies) out.push_back(family.model_type);
  return out;
}

bool IsKnownFamily(std::string_view model_type) {
  return std::any_of(kFamilies.begin(), kFamilies.end(),
                     [&](const Family& family) { return model_type == family.model_type; });
}

Result<OpGraph> BuildOpGraph(const Model& model, const Pass& pass, std::int64_t cache_positions) {
  STOWAGE_RETURN_IF_ERROR(CheckPass(model, pass, cache_positions));
  if (!IsKnownFamily(model.family)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("model '{}': no op graph for family {}", model.name, model.family)};
  }
  if (IsEncoderDecoder(model)) return BuildEncoderDecoderOps(model, pass, cache_positions);
  return MakesTokens(model) ? BuildDecoderOps(model, pass, cache_positions) : BuildEncoderOps(model, pass);
}

bool MakesTokens(const Model& model) { return model.shape.kv_heads > 0; }

bool IsEncoderDecoder(const Model& model) { return model.shape.cross_positions > 0; }

std::int64_t SourcePositions(const Model& model, std::int64_t prompt) {
  if (!IsEncoderDecoder(model)) return 0;
  return model.family == "whisper" ? model.shape.cross_positions : prompt;
}

std::int64_t DecoderPrompt(const Model& model, std::int64_t prompt) {
  return IsEncoderDecoder(model) && model.family != "whisper" ? 1 : prompt;
}

std::int64_t PromptIds(const Model& model, std::int64_t prompt) {
  return IsEncoderDecoder(model) && model.family != "whisper" ? prompt + 1 : prompt;
}

void SetDType(Model& model, DType dtype) {
  for (Tensor& t : model.tensors) {
    const bool follows = !t.buffer || t.name.ends_with("embed_scale");  // a buffer made in the default dtype
    if (follows && IsFloating(t.dtype) && t.weights_per_element > 0) t.dtype = dtype;
  }
}

DType CacheDType(const Model& model) {
  return model.family.starts_with("gguf/") ? DType::kF16 : model.ComputeDType();  // -ctk f16 -ctv f16
}

Bytes LayerCacheBytesPerPosition(const Model& model) { return LayerCacheBytesPerPosition(model, CacheDType(model)); }

Bytes LayerCacheBytesPerPosition(const Model& model, DType dtype) {
  const TransformerShape& s = model.shape;
  if (s.kv_lora_rank > 0) return SizeOf(dtype, s.kv_lora_rank + s.rope_head_dim);
  return 2 * SizeOf(dtype, s.kv_heads * s.head_dim);
}

Bytes CacheBytesPerPosition(const Model& model) {
  return (model.shape.layers - model.shape.kv_shared_layers) * LayerCacheBytesPerPosition(model);
}

std::int64_t CachedPositions(const Model& model, std::int64_t layer, std::int64_t positions) {
  if (layer >= model.shape.layers - model.shape.kv_shared_layers) return 0;
  const std::vector<std::int64_t>& windows = model.shape.windows;
  const std::int64_t window = windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
  return (window > 0 ? std::min(window, positions) : positions) + model.shape.cross_positions;
}

Bytes CacheBytes(const Model& model, std::int64_t positions) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < model.shape.layers; ++i) kept += CachedPositions(model, i, positions);
  return kept * LayerCacheBytesPerPosition(model);
}

}  // namespace stowage

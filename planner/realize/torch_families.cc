#include "planner/realize/torch_families.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "planner/realize/torch.h"

namespace stowage {
namespace torch_eager {
namespace {

struct Family {
  std::string_view model_type;
  Forward forward;
};

// One line per model_type, by name.
constexpr auto kFamilies = std::to_array<Family>({
    {"bert", ForwardBert},
    {"bloom", ForwardBloom},
    {"clip", ForwardClipText},
    {"clip_text_model", ForwardClipText},
    {"cohere", ForwardCohere},
    {"deepseek_v2", ForwardDeepseekV2},
    {"deepseek_v3", ForwardDeepseekV3},
    {"falcon", ForwardFalcon},
    {"gemma", ForwardGemma},
    {"gemma2", ForwardGemma2},
    {"gemma3_text", ForwardGemma3},
    {"gpt2", ForwardGpt2},
    {"gpt_neox", ForwardGptNeoX},
    {"gpt_oss", ForwardGptOss},
    {"gptj", ForwardGptJ},
    {"kimi_k2", ForwardDeepseekV3},
    {"llama", ForwardLlama},
    {"llama4", ForwardLlama4},
    {"llama4_text", ForwardLlama4},
    {"mistral", ForwardMistral},
    {"mixtral", ForwardMixtral},
    {"mt5", ForwardT5},
    {"olmo2", ForwardOlmo2},
    {"opt", ForwardOpt},
    {"phi3", ForwardPhi3},
    {"qwen2", ForwardQwen2},
    {"qwen3", ForwardQwen3},
    {"qwen3_moe", ForwardQwen3Moe},
    {"smollm3", ForwardSmolLm3},
    {"starcoder2", ForwardStarcoder2},
    {"t5", ForwardT5},
    {"umt5", ForwardT5},
    {"vit", ForwardVit},
    {"whisper", ForwardWhisper},
});

std::string KnownFamilies() {
  std::string out;
  for (const Family& family : kFamilies) out += fmt::format("{}{}", out.empty() ? "" : ", ", family.model_type);
  return out;
}

Status CheckPass(const Model& model, const Pass& pass) {
  const auto refuse = [&](std::string what) -> Status {
    return Error{ErrorCode::kInvalidInput, fmt::format("the torch runtime of model '{}': {}", model.name, what)};
  };
  if (pass.batch < 1) return refuse(fmt::format("batch is {}, at least 1 is needed", pass.batch));
  if (pass.tokens < 1) return refuse(fmt::format("a pass of {} tokens, at least 1 is needed", pass.tokens));
  if (!pass.keeps_cache && pass.past > 0)
    return refuse(fmt::format("a pass that keeps no cache over {} positions", pass.past));
  if (pass.past < 0) return refuse(fmt::format("a cache of {} positions", pass.past));
  if (pass.reserved > 0 && (!pass.keeps_cache || pass.past + pass.tokens > pass.reserved)) {
    return refuse(fmt::format("{} positions in a static cache of {}", pass.past + pass.tokens, pass.reserved));
  }
  if (pass.past > 0 && pass.tokens > 1) {
    return refuse(
        fmt::format("{} new tokens over a cache of {} need a mask, which is not realized yet", pass.tokens, pass.past));
  }
  for (const std::int64_t window : model.shape.windows) {
    if (window == 1) return refuse("a sliding window of 1 position");
  }
  return OkStatus();
}

// The parameter that every family's computation has the dtype of: the first one of the tree, an embedding's.
const Tensor* FirstParameter(const Model& model) {
  for (const Tensor& tensor : model.tensors) {
    if (!tensor.buffer) return &tensor;
  }
  return nullptr;
}

}  // namespace

Forward FindForward(std::string_view family) {
  for (const Family& known : kFamilies) {
    if (known.model_type == family) return known.forward;
  }
  return nullptr;
}

}  // namespace torch_eager

std::optional<std::int64_t> TurnOf(const Model& model, const Pass& pass) {
  for (const std::int64_t window : model.shape.windows) {
    if (window == 0) continue;
    if (pass.reserved == 0) return window - 1;
    if (window < pass.reserved) return window;
  }
  return std::nullopt;
}

Result<TorchProgram> RealizeTorch(const Model& model, const Pass& pass) {
  const torch_eager::Forward forward = torch_eager::FindForward(model.family);
  if (forward == nullptr) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("the torch runtime of model '{}': family '{}' is not realized yet, known are {}",
                             model.name, model.family, torch_eager::KnownFamilies())};
  }
  STOWAGE_RETURN_IF_ERROR(torch_eager::CheckPass(model, pass));
  if (torch_eager::FirstParameter(model) == nullptr) {
    return Error{ErrorCode::kInvalidInput, fmt::format("model '{}' has no parameters", model.name)};
  }
  TorchProgram program;
  program.pass = pass;
  program.dtype = torch_eager::FirstParameter(model)->dtype;
  program.events.reserve(static_cast<std::size_t>(model.shape.layers) * 150 + 64);
  torch_eager::TorchWords words(model, pass, &program);
  STOWAGE_RETURN_IF_ERROR(forward(words));
  STOWAGE_RETURN_IF_ERROR(words.status());
  return program;
}

}  // namespace stowage

#include "exec/generate/generate.h"

#include <fmt/format.h>

#include "kernels/float16.h"
#include "kernels/rope_frequencies.h"

namespace stowage {
namespace {

Status CheckPrompt(const Model& model, const Request& request, const std::vector<std::vector<std::int64_t>>& prompt) {
  const auto bad = [](std::string text) { return Error{ErrorCode::kInvalidInput, std::move(text)}; };
  if (static_cast<std::int64_t>(prompt.size()) != request.batch) {
    return bad(fmt::format("{} prompts given for a batch of {}", prompt.size(), request.batch));
  }
  for (const auto& ids : prompt) {
    if (static_cast<std::int64_t>(ids.size()) != request.prompt_tokens) {
      return bad(fmt::format("a prompt has {} tokens, the plan is for {}", ids.size(), request.prompt_tokens));
    }
    for (const std::int64_t id : ids) {
      if (id < 0 || id >= model.shape.vocab) {
        return bad(fmt::format("token {} is not in the vocabulary of {}", id, model.shape.vocab));
      }
    }
  }
  return OkStatus();
}

// Position-major: all sequences' first tokens, then all second ones.
std::vector<std::int32_t> Interleave(const std::vector<std::vector<std::int64_t>>& prompt, std::int64_t tokens) {
  std::vector<std::int32_t> out;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (const auto& ids : prompt) out.push_back(static_cast<std::int32_t>(ids[t]));
  }
  return out;
}

Result<std::vector<float>> RopeFrequencies(const Model& model) {
  kernels::RopeScaling scaling;
  if (model.rope.type == "linear") {
    scaling.kind = kernels::RopeScaling::Kind::kLinear;
  } else if (model.rope.type == "llama3") {
    scaling.kind = kernels::RopeScaling::Kind::kLlama3;
  } else if (model.rope.type != "default") {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("rope scaling '{}' cannot be executed; default, linear and llama3 can", model.rope.type)};
  }
  scaling.factor = model.rope.factor;
  scaling.low_freq_factor = model.rope.low_freq_factor;
  scaling.high_freq_factor = model.rope.high_freq_factor;
  scaling.original_max_position_embeddings = static_cast<double>(model.rope.original_max_positions);
  return kernels::ComputeInvFreq(model.shape.rope_theta, static_cast<int>(model.shape.head_dim), scaling);
}

kernels::Dtype KernelDtype(DType dtype) {
  if (dtype == DType::kF32) return kernels::Dtype::kF32;
  return dtype == DType::kBF16 ? kernels::Dtype::kBF16 : kernels::Dtype::kF16;
}

// [prompt tokens, batch, vocab] in `dtype` -> fp32 [batch, prompt tokens, vocab].
std::vector<float> UnpackLogits(const std::vector<std::byte>& bytes, const Request& request, std::int64_t vocab,
                                DType dtype) {
  std::vector<float> out(static_cast<std::size_t>(request.batch * request.prompt_tokens * vocab));
  for (std::int64_t t = 0; t < request.prompt_tokens; ++t) {
    for (std::int64_t b = 0; b < request.batch; ++b) {
      const std::int64_t row = (t * request.batch + b) * vocab;
      float* to = out.data() + (b * request.prompt_tokens + t) * vocab;
      for (std::int64_t v = 0; v < vocab; ++v) to[v] = kernels::LoadElement(KernelDtype(dtype), bytes.data(), row + v);
    }
  }
  return out;
}

DType LogitsDType(const Schedule& schedule) {
  for (const Kernel& k : schedule.kernels) {
    if (k.kind == KernelKind::kArgmax) return k.dtype;
  }
  return DType::kF32;
}

}  // namespace

Result<Generated> Generate(const Model& model, const Request& request, const Schedule& schedule, DeviceSet& devices,
                           const std::vector<std::vector<std::int64_t>>& prompt, const ExecuteOptions& options) {
  STOWAGE_RETURN_IF_ERROR(CheckPrompt(model, request, prompt));
  STOWAGE_TRY(const std::vector<float> frequencies, RopeFrequencies(model));
  ExecuteInputs inputs;
  inputs.contents["prompt"] = BytesOf(Interleave(prompt, request.prompt_tokens));
  for (const Buffer& b : schedule.buffers) {
    if (b.initial && b.file < 0 && b.name.ends_with("inv_freq@host")) inputs.contents[b.name] = BytesOf(frequencies);
  }
  STOWAGE_TRY(Execution run, Execute(schedule, devices, inputs, options));
  Generated out{.measured = std::move(run.measured)};
  const auto ids = ValuesOf<std::int32_t>(run.outputs.at("tokens_out"));
  out.tokens.resize(static_cast<std::size_t>(request.batch));
  for (std::int64_t t = 0; t < request.new_tokens; ++t) {
    for (std::int64_t b = 0; b < request.batch; ++b) {
      out.tokens[b].push_back(ids[static_cast<std::size_t>((request.prompt_tokens + t) * request.batch + b)]);
    }
  }
  if (request.all_logits) {
    out.logits = UnpackLogits(run.outputs.at("logits_out"), request, model.shape.vocab, LogitsDType(schedule));
  }
  return out;
}

}  // namespace stowage

#include "exec/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "exec/weights/inputs.h"
#include "kernels/float16.h"

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

// How many parts of the batch have ids of their own: "prompt.0", "prompt.1", …; 1 for "prompt".
std::int64_t MicroBatches(const Schedule& schedule) {
  const auto own = [](const Buffer& b) { return b.name.starts_with("prompt."); };
  return std::max<std::int64_t>(1, std::count_if(schedule.buffers.begin(), schedule.buffers.end(), own));
}

std::string OfMicroBatch(const char* name, std::int64_t m, std::int64_t count) {
  return count == 1 ? name : fmt::format("{}.{}", name, m);
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
  STOWAGE_TRY(Contents inputs, NativeInputs(model, {}));
  inputs.erase("prompt");
  const std::int64_t parts = MicroBatches(schedule), sequences = request.batch / parts;
  for (std::int64_t m = 0; m < parts; ++m) {
    const std::vector<std::vector<std::int64_t>> own(prompt.begin() + m * sequences,
                                                     prompt.begin() + (m + 1) * sequences);
    inputs[OfMicroBatch("prompt", m, parts)] = BytesOf(Interleave(own, request.prompt_tokens));
  }
  STOWAGE_TRY(Execution run, Execute(schedule, devices, {inputs}, options));
  Generated out{.measured = std::move(run.measured)};
  for (std::int64_t m = 0; m < parts; ++m) {
    const auto ids = ValuesOf<std::int32_t>(run.outputs.at(OfMicroBatch("tokens_out", m, parts)));
    for (std::int64_t s = 0; s < sequences; ++s) {
      out.tokens.emplace_back();
      for (std::int64_t t = request.prompt_tokens; t < request.prompt_tokens + request.new_tokens; ++t) {
        out.tokens.back().push_back(ids[static_cast<std::size_t>(t * sequences + s)]);
      }
    }
  }
  if (request.all_logits) {
    out.logits = UnpackLogits(run.outputs.at("logits_out"), request, model.shape.vocab, LogitsDType(schedule));
  }
  return out;
}

}  // namespace stowage

#include "exec/weights/inputs.h"

#include <fmt/format.h>

#include "kernels/rope_frequencies.h"

namespace stowage {

Result<Contents> NativeInputs(const Model& model, const std::vector<std::int32_t>& prompt) {
  kernels::RopeScaling scaling{.factor = model.rope.factor,
                               .low_freq_factor = model.rope.low_freq_factor,
                               .high_freq_factor = model.rope.high_freq_factor};
  scaling.original_max_position_embeddings = static_cast<double>(model.rope.original_max_positions);
  if (model.rope.type == "linear") scaling.kind = kernels::RopeScaling::Kind::kLinear;
  if (model.rope.type == "llama3") scaling.kind = kernels::RopeScaling::Kind::kLlama3;
  Contents out = {{"prompt", BytesOf(prompt)}};
  for (const Tensor& tensor : model.tensors) {
    if (!tensor.buffer || tensor.persistent) continue;
    if (!tensor.name.ends_with("inv_freq")) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("buffer '{}' is in no file and is no rope table", tensor.name)};
    }
    out[tensor.name + "@host"] =
        BytesOf(kernels::ComputeInvFreq(model.shape.rope_theta, static_cast<int>(model.shape.head_dim), scaling));
  }
  return out;
}

}  // namespace stowage

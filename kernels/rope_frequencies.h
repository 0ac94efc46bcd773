// Inverse frequencies of rotary embeddings, as transformers computes them (modeling_rope_utils): all arithmetic in
// fp32, in its order.
//
//   default  f_i = 1 / theta^(2i / head_dim)
//   linear   f_i / factor
//   llama3   by wavelength w = 2π / f_i, with low = original / low_freq_factor and high = original / high_freq_factor:
//            f_i where w < high; f_i / factor where w > low; between them a blend of the two, linear in original / w
#pragma once

#include <vector>

namespace stowage::kernels {

struct RopeScaling {
  enum class Kind { kDefault, kLinear, kLlama3 };
  Kind kind = Kind::kDefault;
  double factor = 1.0;
  // llama3 only:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position_embeddings = 8192;
};

// head_dim / 2 values; head_dim must be even and positive (otherwise the result is empty).
std::vector<float> ComputeInvFreq(double theta, int head_dim, const RopeScaling& scaling = {});

}  // namespace stowage::kernels

#include "kernels/rope_frequencies.h"

#include <cmath>
#include <numbers>

namespace stowage::kernels {
namespace {

// torch computes `python float op fp32 tensor` with the float rounded to fp32 first.
float Llama3(float frequency, const RopeScaling& scaling) {
  const auto original = static_cast<float>(scaling.original_max_position_embeddings);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low = static_cast<float>(scaling.original_max_position_embeddings / scaling.low_freq_factor);
  const auto high = static_cast<float>(scaling.original_max_position_embeddings / scaling.high_freq_factor);
  const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
  if (wavelength > low) return frequency / factor;
  if (wavelength < high) return frequency;
  const float smooth = (original / wavelength - static_cast<float>(scaling.low_freq_factor)) /
                       static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<float> ComputeInvFreq(double theta, int head_dim, const RopeScaling& scaling) {
  std::vector<float> frequencies;
  if (head_dim <= 0 || head_dim % 2 != 0) return frequencies;
  for (int i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    // The double power rounded once is within one unit in the last place of any fp32 pow.
    const double power = std::pow(double{static_cast<float>(theta)}, double{exponent});
    float frequency = 1.0f / static_cast<float>(power);
    if (scaling.kind == RopeScaling::Kind::kLinear) frequency /= static_cast<float>(scaling.factor);
    if (scaling.kind == RopeScaling::Kind::kLlama3) frequency = Llama3(frequency, scaling);
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace stowage::kernels

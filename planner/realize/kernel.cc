#include "planner/realize/kernel.h"

#include <array>

namespace stowage {

std::string_view Name(KernelKind kind) {
  static constexpr std::array<std::string_view, kKernelKinds> kNames = {
      "embedding",        "rms_norm",         "linear",      "rope_cache",     "attention",    "silu_mul",
      "argmax",           "convert",          "opaque",      "layer_norm",     "rms_norm_1p",  "l2_norm",
      "linear_t",         "quant_linear",     "convolution", "rope",           "cache_append", "split_heads",
      "masked_attention", "latent_attention", "activation",  "activation_mul", "add",          "add_rows",
      "prepend_row",      "select_rows",      "route",       "grouped_linear", "combine"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view Name(Function function) {
  static constexpr std::array<std::string_view, kFunctions> kNames = {
      "none", "silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "tanh", "clamped_swiglu", "softcap", "scale"};
  return kNames[static_cast<std::size_t>(function)];
}

}  // namespace stowage

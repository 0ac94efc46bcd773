#include "kernels/table.h"

namespace stowage::kernels {

KernelTable EmulatedKernels() {
  return {.embedding = &emulated::LaunchEmbedding,
          .rms_norm = &emulated::LaunchRmsNorm,
          .rope_cache = &emulated::LaunchRopeCache,
          .linear = &emulated::LaunchLinear,
          .attention = &emulated::LaunchAttention,
          .silu_mul = &emulated::LaunchSiluMul,
          .argmax = &emulated::LaunchArgmax,
          .convert = &emulated::LaunchConvert};
}

}  // namespace stowage::kernels

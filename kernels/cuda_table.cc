#include "kernels/table.h"

namespace stowage::kernels {

KernelTable CudaKernels() {
#if defined(STOWAGE_CUDA)
  return {.embedding = &LaunchEmbedding,
          .rms_norm = &LaunchRmsNorm,
          .rope_cache = &LaunchRopeCache,
          .linear = &LaunchLinear,
          .attention = &LaunchAttention,
          .silu_mul = &LaunchSiluMul,
          .argmax = &LaunchArgmax,
          .convert = &LaunchConvert};
#else
  return {};
#endif
}

}  // namespace stowage::kernels

// The queued kernels of one backend as data, so that exec/cuda runs the same code over the real ones and the emulated
// ones.
#pragma once

#include "kernels/argmax.h"
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rope_cache.h"
#include "kernels/silu_mul.h"

namespace stowage::kernels {

struct KernelTable {
  int (*embedding)(const EmbeddingArgs&, void* stream) = nullptr;
  int (*rms_norm)(const RmsNormArgs&, void* stream) = nullptr;
  int (*rope_cache)(const RopeCacheArgs&, void* stream) = nullptr;
  int (*linear)(const LinearArgs&, void* stream) = nullptr;  // ours only: see kernels/cublaslt.h for the other
  int (*attention)(const AttentionArgs&, void* stream) = nullptr;
  int (*silu_mul)(const SiluMulArgs&, void* stream) = nullptr;
  int (*argmax)(const ArgmaxArgs&, void* stream) = nullptr;
  int (*convert)(const ConvertArgs&, void* stream) = nullptr;
};

// The .cu sources on the CPU: pointers are host pointers, `stream` is ignored, the work is done on return.
KernelTable EmulatedKernels();

// The real ones; all null in a build without the CUDA toolkit.
KernelTable CudaKernels();

}  // namespace stowage::kernels

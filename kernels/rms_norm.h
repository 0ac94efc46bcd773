// y = round(x * rsqrt(mean(x²) + eps)) * weight per row, as transformers' LlamaRMSNorm: the mean and the first product
// in fp32, rounded to the dtype, then multiplied by the weight and rounded again.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct RmsNormArgs {
  Dtype dtype = Dtype::kF32;
  int rows = 0;
  int hidden = 0;
  float eps = 1e-5f;
  const void* x = nullptr;       // [rows, hidden]
  const void* weight = nullptr;  // [hidden]
  void* y = nullptr;             // [rows, hidden]; may be x
};

// HostRmsNorm divides the rows.
int ReferenceRmsNorm(const RmsNormArgs& args);
int HostRmsNorm(const RmsNormArgs& args, Part part = {});
int LaunchRmsNorm(const RmsNormArgs& args, void* stream);
namespace emulated {
int LaunchRmsNorm(const RmsNormArgs& args, void* stream);
}

}  // namespace stowage::kernels

// out = round(silu(gate)) * up, rounded, with silu(g) = g / (1 + exp(-g)) in fp32: what eager torch computes.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct SiluMulArgs {
  Dtype dtype = Dtype::kF32;
  std::int64_t count = 0;
  const void* gate = nullptr;  // [count]
  const void* up = nullptr;    // [count]
  void* out = nullptr;         // [count]; may be gate or up
};

// HostSiluMul divides the elements.
int ReferenceSiluMul(const SiluMulArgs& args);
int HostSiluMul(const SiluMulArgs& args, Part part = {});
int LaunchSiluMul(const SiluMulArgs& args, void* stream);
namespace emulated {
int LaunchSiluMul(const SiluMulArgs& args, void* stream);
}

}  // namespace stowage::kernels

#include "kernels/host/isa.h"

namespace stowage::kernels {

std::vector<const HostIsa*> SupportedHostIsas() {
  std::vector<const HostIsa*> supported;
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // every such processor has F16C
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    supported.push_back(&kHostAvx512);
  }
  if (avx2) supported.push_back(&kHostAvx2);
  supported.push_back(&kHostBaseline);
  return supported;
}

const HostIsa& BestHostIsa() {
  static const HostIsa* const kBest = SupportedHostIsas().front();
  return *kBest;
}

}  // namespace stowage::kernels

// The vectorised inner loops, compiled once per instruction set from host/loops.inc. Internal to kernels/.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/silu_mul.h"

namespace stowage::kernels {

// Each works on [begin, end) of what its family divides; the arguments were validated.
struct HostIsa {
  const char* name;
  void (*linear)(const LinearArgs&, std::int64_t begin, std::int64_t end);        // columns of the whole matrix
  void (*attention)(const AttentionArgs&, std::int64_t begin, std::int64_t end);  // row * heads + head
  void (*rms_norm)(const RmsNormArgs&, std::int64_t begin, std::int64_t end);     // rows
  void (*silu_mul)(const SiluMulArgs&, std::int64_t begin, std::int64_t end);     // elements
  void (*convert)(const ConvertArgs&, std::int64_t begin, std::int64_t end);      // elements
};

extern const HostIsa kHostBaseline;  // SSE2: any x86-64
extern const HostIsa kHostAvx2;      // with FMA and F16C
extern const HostIsa kHostAvx512;    // F, BW, DQ, VL

// Those this processor can run, best first; never empty.
std::vector<const HostIsa*> SupportedHostIsas();
const HostIsa& BestHostIsa();

}  // namespace stowage::kernels

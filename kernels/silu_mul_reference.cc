#include <cmath>

#include "kernels/float16.h"
#include "kernels/silu_mul.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceSiluMul(const SiluMulArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (std::int64_t i = 0; i < args.count; ++i) {
    const double gate = LoadElement(args.dtype, args.gate, i);
    const float silu = RoundTo(args.dtype, static_cast<float>(gate / (1.0 + std::exp(-gate))));
    StoreElement(args.dtype, args.out, i, silu * LoadElement(args.dtype, args.up, i));
  }
  return kOk;
}

}  // namespace stowage::kernels

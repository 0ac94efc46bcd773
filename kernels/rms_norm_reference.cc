#include <cmath>

#include "kernels/float16.h"
#include "kernels/rms_norm.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceRmsNorm(const RmsNormArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (int r = 0; r < args.rows; ++r) {
    const std::int64_t row = std::int64_t{r} * args.hidden;
    double squares = 0;
    for (int c = 0; c < args.hidden; ++c) {
      const double x = LoadElement(args.dtype, args.x, row + c);
      squares += x * x;
    }
    const double scale = 1.0 / std::sqrt(squares / args.hidden + double{args.eps});
    for (int c = 0; c < args.hidden; ++c) {
      const double x = LoadElement(args.dtype, args.x, row + c);
      const float normed = RoundTo(args.dtype, static_cast<float>(x * scale));
      StoreElement(args.dtype, args.y, row + c, LoadElement(args.dtype, args.weight, c) * normed);
    }
  }
  return kOk;
}

}  // namespace stowage::kernels

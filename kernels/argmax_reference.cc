#include <cmath>

#include "kernels/argmax.h"
#include "kernels/float16.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceArgmax(const ArgmaxArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (int r = 0; r < args.rows; ++r) {
    const std::int64_t row = std::int64_t{r} * args.vocab;
    int best = 0;
    for (int c = 1; c < args.vocab; ++c) {
      const float held = LoadElement(args.dtype, args.logits, row + best);
      const float value = LoadElement(args.dtype, args.logits, row + c);
      if (value > held || (std::isnan(value) && !std::isnan(held))) best = c;
    }
    args.out[r] = best;
  }
  return kOk;
}

}  // namespace stowage::kernels

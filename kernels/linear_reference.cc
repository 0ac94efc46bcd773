#include "kernels/float16.h"
#include "kernels/linear.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceLinear(const LinearArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  const Dtype d = args.dtype;
  for (int r = 0; r < args.rows; ++r) {
    for (int c = args.row_begin; c < args.row_end; ++c) {
      const std::int64_t weight_row = std::int64_t{c - args.row_begin} * args.k;
      double sum = 0;
      for (int i = 0; i < args.k; ++i) {
        sum += double{LoadElement(d, args.x, std::int64_t{r} * args.k + i)} *
               double{LoadElement(d, args.weight, weight_row + i)};
      }
      const std::int64_t at = std::int64_t{r} * args.n + c;
      if (args.bias) sum += double{LoadElement(d, args.bias, c)};
      if (args.accumulate) sum += double{LoadElement(d, args.y, at)};
      StoreElement(d, args.y, at, static_cast<float>(sum));
    }
  }
  return kOk;
}

}  // namespace stowage::kernels

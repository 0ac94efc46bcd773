#include "kernels/convert.h"
#include "kernels/float16.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceConvert(const ConvertArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (std::int64_t i = 0; i < args.count; ++i) {
    StoreElement(args.to_dtype, args.to, i, LoadElement(args.from_dtype, args.from, i));
  }
  return kOk;
}

}  // namespace stowage::kernels

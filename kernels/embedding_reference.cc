#include "kernels/embedding.h"
#include "kernels/float16.h"
#include "kernels/validate.h"

namespace stowage::kernels {

int ReferenceEmbedding(const EmbeddingArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  for (int r = 0; r < args.rows; ++r) {
    if (args.ids[r] < 0 || args.ids[r] >= args.vocab) return kTokenOutOfRange;
  }
  for (int r = 0; r < args.rows; ++r) {
    for (int c = 0; c < args.hidden; ++c) {
      const std::int64_t from = std::int64_t{args.ids[r]} * args.hidden + c;
      const std::int64_t to = std::int64_t{r} * args.hidden + c;
      StoreElement(args.dtype, args.out, to, LoadElement(args.dtype, args.table, from));
    }
  }
  return kOk;
}

}  // namespace stowage::kernels

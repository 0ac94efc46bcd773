#include <cmath>

#include "kernels/float16.h"
#include "kernels/rope_cache.h"
#include "kernels/validate.h"

namespace stowage::kernels {
namespace {

// Rotates one head: reads from[from_at..], writes to[to_at..]; the two may be the same.
void Rotate(const RopeCacheArgs& args, int position, const void* from, std::int64_t from_at, void* to,
            std::int64_t to_at) {
  const Dtype d = args.dtype;
  const int half = args.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * args.inv_freq[i];
    const float cosine = RoundTo(d, std::cos(angle));
    const float sine = RoundTo(d, std::sin(angle));
    const float first = LoadElement(d, from, from_at + i);
    const float second = LoadElement(d, from, from_at + i + half);
    StoreElement(d, to, to_at + i, RoundTo(d, first * cosine) + RoundTo(d, -second * sine));
    StoreElement(d, to, to_at + i + half, RoundTo(d, second * cosine) + RoundTo(d, first * sine));
  }
}

}  // namespace

int ReferenceRopeCache(const RopeCacheArgs& args) {
  if (!Valid(args)) return kInvalidValue;
  const std::int64_t kv_row = std::int64_t{args.kv_heads} * args.head_dim;
  for (int r = 0; r < args.tokens * args.batch; ++r) {
    const int position = args.past + r / args.batch;
    const std::int64_t slot = (std::int64_t{args.past} * args.batch + r) * kv_row;
    for (int h = 0; h < args.heads; ++h) {
      const std::int64_t at = (std::int64_t{r} * args.heads + h) * args.head_dim;
      Rotate(args, position, args.q, at, args.q, at);
    }
    for (int h = 0; h < args.kv_heads; ++h) {
      const std::int64_t in_row = std::int64_t{h} * args.head_dim;
      Rotate(args, position, args.k, r * kv_row + in_row, args.k_cache, slot + in_row);
    }
    for (std::int64_t i = 0; i < kv_row; ++i) {
      StoreElement(args.dtype, args.v_cache, slot + i, LoadElement(args.dtype, args.v, r * kv_row + i));
    }
  }
  return kOk;
}

}  // namespace stowage::kernels

#include "kernels/device.h"
#include "kernels/rope_cache.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kRopeThreads = 128;

template <class T>
STOWAGE_DEVICE void Rotate(const T* from, T* to, int half, int i, float cosine, float sine) {
  const float first = ToFloat(from[i]);
  const float second = ToFloat(from[i + half]);
  FromFloat(RoundTo<T>(Product(first, cosine)) + RoundTo<T>(Product(-second, sine)), &to[i]);
  FromFloat(RoundTo<T>(Product(second, cosine)) + RoundTo<T>(Product(first, sine)), &to[i + half]);
}

// One block per row. A thread owns the same pair of elements in every head it visits when the number of threads is a
// multiple of head_dim / 2; sines are cheap next to the memory traffic, so it does not try to keep them.
template <class T>
__global__ void RopeCacheKernel(RopeCacheArgs args) {
  const std::int64_t row = blockIdx.x;
  const int half = args.head_dim / 2;
  const float position = static_cast<float>(args.past + static_cast<int>(row) / args.batch);
  const std::int64_t kv_row = static_cast<std::int64_t>(args.kv_heads) * args.head_dim;
  const std::int64_t slot = (static_cast<std::int64_t>(args.past) * args.batch + row) * kv_row;
  T* q = static_cast<T*>(args.q) + row * args.heads * args.head_dim;
  const T* k = static_cast<const T*>(args.k) + row * kv_row;
  const T* v = static_cast<const T*>(args.v) + row * kv_row;
  T* k_slot = static_cast<T*>(args.k_cache) + slot;
  T* v_slot = static_cast<T*>(args.v_cache) + slot;

  for (int pair = threadIdx.x; pair < (args.heads + args.kv_heads) * half; pair += kRopeThreads) {
    const int head = pair / half;
    const int i = pair % half;
    const float angle = position * args.inv_freq[i];
    const float cosine = RoundTo<T>(cosf(angle));
    const float sine = RoundTo<T>(sinf(angle));
    if (head < args.heads) {
      T* at = q + static_cast<std::int64_t>(head) * args.head_dim;
      Rotate(at, at, half, i, cosine, sine);
    } else {
      const std::int64_t at = static_cast<std::int64_t>(head - args.heads) * args.head_dim;
      Rotate(k + at, k_slot + at, half, i, cosine, sine);
    }
  }
  for (int i = threadIdx.x; i < kv_row; i += kRopeThreads) v_slot[i] = v[i];
}

template <class T>
int LaunchFor(const RopeCacheArgs& args, void* stream) {
  return Launch(&RopeCacheKernel<T>, args.tokens * args.batch, kRopeThreads, stream, args);
}

}  // namespace

int LaunchRopeCache(const RopeCacheArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND

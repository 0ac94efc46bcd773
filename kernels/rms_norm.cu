#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/rms_norm.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kRmsNormThreads = 256;
constexpr int kRmsNormWarps = kRmsNormThreads / 32;

// One block per row; the row is read twice, the second time from the cache.
template <class T>
__global__ void RmsNormKernel(RmsNormArgs args) {
  STOWAGE_SHARED(float, partial, kRmsNormWarps);
  constexpr int kPack = Pack<T>::kCount;
  const int thread = threadIdx.x;
  const T* x = static_cast<const T*>(args.x) + static_cast<std::int64_t>(blockIdx.x) * args.hidden;
  T* y = static_cast<T*>(args.y) + static_cast<std::int64_t>(blockIdx.x) * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);

  float squares = 0;
  for (int i = thread * kPack; i < args.hidden; i += kRmsNormThreads * kPack) {
    const Pack<T> pack = LoadPack<kPack>(x + i, args.hidden - i);
    for (int j = 0; j < kPack; ++j) squares += ToFloat(pack.at[j]) * ToFloat(pack.at[j]);
  }
  squares = WarpSum(squares);
  if (thread % 32 == 0) partial[thread / 32] = squares;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < kRmsNormWarps; ++w) sum += partial[w];
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(args.hidden) + args.eps);

  for (int i = thread * kPack; i < args.hidden; i += kRmsNormThreads * kPack) {
    Pack<T> pack = LoadPack<kPack>(x + i, args.hidden - i);
    const Pack<T> gain = LoadPack<kPack>(weight + i, args.hidden - i);
    for (int j = 0; j < kPack; ++j) {
      FromFloat(RoundTo<T>(ToFloat(pack.at[j]) * scale) * ToFloat(gain.at[j]), &pack.at[j]);
    }
    StorePack(pack, y + i, args.hidden - i);
  }
}

template <class T>
int LaunchFor(const RmsNormArgs& args, void* stream) {
  return Launch(&RmsNormKernel<T>, args.rows, kRmsNormThreads, stream, args);
}

}  // namespace

int LaunchRmsNorm(const RmsNormArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND

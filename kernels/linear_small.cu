#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/linear.h"
#include "kernels/validate.h"

namespace stowage::kernels STOWAGE_BACKEND_OPEN namespace {

constexpr int kSmallThreads = 128;
constexpr int kSmallWarps = kSmallThreads / 32;
constexpr int kInFlight = 4;  // 16-byte loads of W a lane issues before it uses the first: 2 KiB per warp

// sums[r] += w · x[r] over one pack, element after element.
template <class T, int R>
STOWAGE_DEVICE void AddPack(const Pack<T>& w, const T* x, std::int64_t i, const LinearArgs& args, float (&sums)[R]) {
  constexpr int kPack = Pack<T>::kCount;
  for (int r = 0; r < R; ++r) {
    if (r >= args.rows) break;
    const Pack<T> row = LoadPack<kPack>(x + r * static_cast<std::int64_t>(args.k) + i, args.k - i);
    for (int j = 0; j < kPack; ++j) sums[r] = fmaf(ToFloat(w.at[j]), ToFloat(row.at[j]), sums[r]);
  }
}

// One warp per row of W, up to R rows of x. Lane l adds packs l, l + 32, … in this order, then the lanes are added as a
// tree: nothing depends on the tile, on R or on how a pack was loaded.
template <class T, int R>
__global__ void LinearSmallKernel(LinearArgs args) {
  constexpr int kPack = Pack<T>::kCount;
  constexpr int kStride = 32 * kPack;
  const int lane = threadIdx.x % 32;
  const std::int64_t column = args.row_begin + blockIdx.x * static_cast<std::int64_t>(kSmallWarps) + threadIdx.x / 32;
  if (column >= args.row_end) return;  // a whole warp
  const T* w = static_cast<const T*>(args.weight) + (column - args.row_begin) * args.k;
  const T* x = static_cast<const T*>(args.x);
  float sums[R] = {};
  std::int64_t i = static_cast<std::int64_t>(lane) * kPack;
  for (; i + (kInFlight - 1) * kStride + kPack <= args.k; i += kInFlight * kStride) {
    Pack<T> packs[kInFlight];
#pragma unroll
    for (int f = 0; f < kInFlight; ++f) packs[f] = LoadPack<kPack>(w + i + f * kStride, kPack);
#pragma unroll
    for (int f = 0; f < kInFlight; ++f) AddPack<T, R>(packs[f], x, i + f * kStride, args, sums);
  }
  for (; i < args.k; i += kStride) AddPack<T, R>(LoadPack<kPack>(w + i, args.k - i), x, i, args, sums);

  for (int r = 0; r < R; ++r) {
    float sum = WarpSum(sums[r]);
    if (lane != 0 || r >= args.rows) continue;
    T* y = static_cast<T*>(args.y) + r * static_cast<std::int64_t>(args.n) + column;
    if (args.bias) sum += ToFloat(static_cast<const T*>(args.bias)[column]);
    if (args.accumulate) sum += ToFloat(*y);
    FromFloat(sum, y);
  }
}

template <class T, int R>
int LaunchRows(const LinearArgs& args, void* stream) {
  const int blocks = (args.row_end - args.row_begin + kSmallWarps - 1) / kSmallWarps;
  auto* kernel = &LinearSmallKernel<T, R>;
  return Launch(kernel, blocks, kSmallThreads, stream, args);
}

template <class T>
int LaunchFor(const LinearArgs& args, void* stream) {
  if (args.rows == 1) return LaunchRows<T, 1>(args, stream);
  if (args.rows <= 4) return LaunchRows<T, 4>(args, stream);
  return LaunchRows<T, kLinearSmallRows>(args, stream);
}

}  // namespace stowage::kernelsSTOWAGE_BACKEND_OPENnamespace

int LaunchLinearSmall(const LinearArgs& args, void* stream) {
  if (!Valid(args) || args.rows > kLinearSmallRows) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

// The calls are qualified: unqualified ones would find both backends' functions through the type of the argument.
int LaunchLinear(const LinearArgs& args, void* stream) {
  return args.rows <= kLinearSmallRows ? STOWAGE_BACKEND::LaunchLinearSmall(args, stream)
                                       : STOWAGE_BACKEND::LaunchLinearTiled(args, stream);
}

STOWAGE_BACKEND_CLOSE

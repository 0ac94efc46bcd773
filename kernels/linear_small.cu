#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/linear.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kSmallThreads = 128;
constexpr int kSmallWarps = kSmallThreads / 32;
constexpr int kInFlight = 4;  // 16-byte loads of W a lane issues before it uses the first: 2 KiB per warp

template <bool kAligned, class T>
STOWAGE_DEVICE Pack<T> Load(const T* from, std::int64_t left) {
  if constexpr (kAligned) return LoadAlignedPack<Pack<T>::kCount>(from);
  return LoadPack<Pack<T>::kCount>(from, left);
}

// sums[r] += w · x[r] over one pack, element after element.
template <bool kAligned, class T, int R>
STOWAGE_DEVICE void AddPack(const Pack<T>& w, const T* x, std::int64_t i, const LinearArgs& args, float (&sums)[R]) {
#pragma unroll
  for (int r = 0; r < R; ++r) {
    if (r >= args.rows) break;
    const Pack<T> row = Load<kAligned>(x + r * static_cast<std::int64_t>(args.k) + i, args.k - i);
#pragma unroll
    for (int j = 0; j < Pack<T>::kCount; ++j) sums[r] = fmaf(ToFloat(w.at[j]), ToFloat(row.at[j]), sums[r]);
  }
}

// sums[r] = what this lane adds to w · x[r]: packs lane, lane + 32, … in this order.
template <bool kAligned, class T, int R>
STOWAGE_DEVICE void AddLane(const T* w, const T* x, const LinearArgs& args, float (&sums)[R]) {
  constexpr int kPack = Pack<T>::kCount;
  constexpr int kStride = 32 * kPack;
  std::int64_t i = static_cast<std::int64_t>(threadIdx.x % 32) * kPack;
  for (; i + (kInFlight - 1) * kStride + kPack <= args.k; i += kInFlight * kStride) {
    Pack<T> packs[kInFlight];
#pragma unroll
    for (int f = 0; f < kInFlight; ++f) packs[f] = Load<kAligned>(w + i + f * kStride, kPack);
#pragma unroll
    for (int f = 0; f < kInFlight; ++f) AddPack<kAligned>(packs[f], x, i + f * kStride, args, sums);
  }
  for (; i < args.k; i += kStride) AddPack<kAligned>(Load<kAligned>(w + i, args.k - i), x, i, args, sums);
}

// One warp per row of W, up to R rows of x. The lanes' sums are added as a tree: nothing depends on the tile, on R or
// on how a pack was loaded.
template <class T, int R>
__global__ void LinearSmallKernel(LinearArgs args) {
  const std::int64_t column = args.row_begin + blockIdx.x * static_cast<std::int64_t>(kSmallWarps) + threadIdx.x / 32;
  if (column >= args.row_end) return;  // a whole warp
  const T* w = static_cast<const T*>(args.weight) + (column - args.row_begin) * args.k;
  const T* x = static_cast<const T*>(args.x);
  float sums[R] = {};
  if (args.k % Pack<T>::kCount == 0 && Aligned<Word16>(w) && Aligned<Word16>(x)) {
    AddLane<true>(w, x, args, sums);
  } else {
    AddLane<false>(w, x, args, sums);
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    float sum = WarpSum(sums[r]);
    if (threadIdx.x % 32 != 0 || r >= args.rows) continue;
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
  return LaunchRows<T, kLinearSmallRows>(args, stream);
}

}  // namespace

int LaunchLinearSmall(const LinearArgs& args, void* stream) {
  if (!Valid(args) || args.rows > kLinearSmallRows) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

// The calls are qualified: unqualified ones would find both backends' functions through the type of the argument.
int LaunchLinear(const LinearArgs& args, void* stream) {
  return args.rows <= kLinearSmallRows ? STOWAGE_BACKEND::LaunchLinearSmall(args, stream)
                                       : STOWAGE_BACKEND::LaunchLinearTiled(args, stream);
}

}  // namespace STOWAGE_BACKEND

#include "kernels/device.h"
#include "kernels/linear.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kTile = 64;   // of y, both ways
constexpr int kDepth = 16;  // of k per step
constexpr int kPerThread =
    4;  // a thread computes 4 x 4 elements: 32 shared loads for 16 products per unit of k … 0.5 per FMA
constexpr int kTiledThreads = (kTile / kPerThread) * (kTile / kPerThread);
constexpr int kPitch = kTile + 1;  // odd, so that the transposing stores do not meet in one bank

// tile[d * kPitch + i] = matrix[first + i][depth + d], zero outside.
template <class T, class Shared>
STOWAGE_DEVICE void LoadTile(const T* matrix, int rows, int k, std::int64_t first, int depth, Shared& tile) {
  for (int e = threadIdx.x; e < kTile * kDepth; e += kTiledThreads) {
    const int i = e / kDepth;
    const int d = e % kDepth;
    const bool inside = first + i < rows && depth + d < k;
    tile[d * kPitch + i] = inside ? ToFloat(matrix[(first + i) * k + depth + d]) : 0.0f;
  }
}

template <class T>
STOWAGE_DEVICE void StoreSum(const LinearArgs& args, std::int64_t row, std::int64_t column, float sum) {
  if (row >= args.rows || column >= args.row_end) return;
  T* y = static_cast<T*>(args.y) + row * args.n + column;
  if (args.bias) sum += ToFloat(static_cast<const T*>(args.bias)[column]);
  if (args.accumulate) sum += ToFloat(*y);
  FromFloat(sum, y);
}

// One block per 64 x 64 tile of y. Every element adds its products in the order of k, whatever the tile.
template <class T>
__global__ void LinearTiledKernel(LinearArgs args) {
  STOWAGE_SHARED(float, x_tile, kDepth* kPitch);
  STOWAGE_SHARED(float, w_tile, kDepth* kPitch);
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * kTile;  // within the given rows of W
  const int thread_row = threadIdx.x / (kTile / kPerThread);
  const int thread_column = threadIdx.x % (kTile / kPerThread);
  float sums[kPerThread][kPerThread] = {};
  for (int depth = 0; depth < args.k; depth += kDepth) {
    LoadTile(static_cast<const T*>(args.x), args.rows, args.k, first_row, depth, x_tile);
    LoadTile(static_cast<const T*>(args.weight), args.row_end - args.row_begin, args.k, first_column, depth, w_tile);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      float x[kPerThread];
      float w[kPerThread];
      for (int i = 0; i < kPerThread; ++i) x[i] = x_tile[d * kPitch + thread_row + i * (kTile / kPerThread)];
      for (int i = 0; i < kPerThread; ++i) w[i] = w_tile[d * kPitch + thread_column + i * (kTile / kPerThread)];
      for (int i = 0; i < kPerThread; ++i) {
        for (int j = 0; j < kPerThread; ++j) sums[i][j] = fmaf(x[i], w[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < kPerThread; ++i) {
    for (int j = 0; j < kPerThread; ++j) {
      StoreSum<T>(args, first_row + thread_row + i * (kTile / kPerThread),
                  args.row_begin + first_column + thread_column + j * (kTile / kPerThread), sums[i][j]);
    }
  }
}

template <class T>
int LaunchFor(const LinearArgs& args, void* stream) {
  const dim3 grid((args.row_end - args.row_begin + kTile - 1) / kTile, (args.rows + kTile - 1) / kTile);
  return Launch(&LinearTiledKernel<T>, grid, kTiledThreads, stream, args);
}

}  // namespace

int LaunchLinearTiled(const LinearArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND

#include "kernels/attention.h"
#include "kernels/device.h"
#include "kernels/device_pack.h"
#include "kernels/validate.h"

namespace STOWAGE_BACKEND {
namespace {

constexpr int kAttentionWarps = 16;  // one block serves one query head: many warps, or decode would leave the GPU idle
constexpr int kAttentionThreads = kAttentionWarps * 32;
constexpr int kBatchPositions = 4;  // positions a warp loads before it uses the first

// What one warp has seen: a softmax over its positions, not yet divided.
template <int E>
struct Partial {
  float largest = -INFINITY;
  float weight_sum = 0;
  float sums[E] = {};  // of V; lane l holds elements l, l + 32, …
};

// Adds positions first, first + kAttentionWarps, …, kBatchPositions of them, those below `positions`.
template <class T, int E>
STOWAGE_DEVICE void AddPositions(const AttentionArgs& args, const float (&q)[E], const T* k, const T* v,
                                 std::int64_t stride, int first, int positions, Partial<E>& partial) {
  const int lane = threadIdx.x % 32;
  float scores[kBatchPositions];
  float largest = partial.largest;
#pragma unroll
  for (int b = 0; b < kBatchPositions; ++b) {
    const int p = first + b * kAttentionWarps;
    float dot = 0;
    for (int e = 0; e < E; ++e) {
      const int i = lane + e * 32;
      if (p < positions && i < args.head_dim) dot = fmaf(q[e], ToFloat(k[p * stride + i]), dot);
    }
    scores[b] = p < positions ? dot : 0;
  }
#pragma unroll
  for (int b = 0; b < kBatchPositions; ++b) {
    scores[b] = WarpSum(scores[b]);
    if (first + b * kAttentionWarps >= positions) scores[b] = -INFINITY;
    largest = fmaxf(largest, scores[b]);
  }
  const float rescale = expf(partial.largest - largest);
  partial.largest = largest;
  partial.weight_sum *= rescale;
  for (int e = 0; e < E; ++e) partial.sums[e] *= rescale;
#pragma unroll
  for (int b = 0; b < kBatchPositions; ++b) {
    const int p = first + b * kAttentionWarps;
    const float weight = expf(scores[b] - largest);
    partial.weight_sum += weight;
    for (int e = 0; e < E; ++e) {
      const int i = lane + e * 32;
      if (p < positions && i < args.head_dim)
        partial.sums[e] = fmaf(weight, ToFloat(v[p * stride + i]), partial.sums[e]);
    }
  }
}

// One block per (row, query head): the warps share the positions, then their partial results are joined.
template <class T, int E>
__global__ void AttentionKernel(AttentionArgs args) {
  STOWAGE_SHARED(float, largest, kAttentionWarps);
  STOWAGE_SHARED(float, weight_sum, kAttentionWarps);
  STOWAGE_SHARED(float, sums, kAttentionWarps* E * 32);
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const std::int64_t row = blockIdx.x / args.heads;
  const int head = blockIdx.x % args.heads;
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * args.head_dim;
  const std::int64_t stride = static_cast<std::int64_t>(args.batch) * args.kv_heads * args.head_dim;
  const std::int64_t in_position =
      (row % args.batch * args.kv_heads + head / (args.heads / args.kv_heads)) * args.head_dim;
  const int positions = args.past + static_cast<int>(row / args.batch) + 1;
  const float scale = 1.0f / sqrtf(static_cast<float>(args.head_dim));

  float q[E];
  for (int e = 0; e < E; ++e) {
    const int i = lane + e * 32;
    q[e] = i < args.head_dim ? ToFloat(static_cast<const T*>(args.q)[at + i]) * scale : 0.0f;
  }
  Partial<E> partial;
  for (int p = warp; p < positions; p += kAttentionWarps * kBatchPositions) {
    AddPositions(args, q, static_cast<const T*>(args.k_cache) + in_position,
                 static_cast<const T*>(args.v_cache) + in_position, stride, p, positions, partial);
  }
  if (lane == 0) {
    largest[warp] = partial.largest;
    weight_sum[warp] = partial.weight_sum;
  }
  for (int e = 0; e < E; ++e) sums[(warp * E + e) * 32 + lane] = partial.sums[e];
  __syncthreads();

  float overall = -INFINITY;
  for (int w = 0; w < kAttentionWarps; ++w) overall = fmaxf(overall, largest[w]);
  for (int i = threadIdx.x; i < args.head_dim; i += kAttentionThreads) {
    float weights = 0;
    float sum = 0;
    for (int w = 0; w < kAttentionWarps; ++w) {
      const float share = expf(largest[w] - overall);  // 0 for a warp that saw no position
      weights += share * weight_sum[w];
      sum += share * sums[w * E * 32 + i];
    }
    FromFloat(sum / weights, &static_cast<T*>(args.out)[at + i]);
  }
}

template <class T, int E>
int LaunchElements(const AttentionArgs& args, void* stream) {
  auto* kernel = &AttentionKernel<T, E>;
  return Launch(kernel, args.tokens * args.batch * args.heads, kAttentionThreads, stream, args);
}

template <class T>
int LaunchFor(const AttentionArgs& args, void* stream) {
  if (args.head_dim <= 64) return LaunchElements<T, 2>(args, stream);
  if (args.head_dim <= 128) return LaunchElements<T, 4>(args, stream);
  return LaunchElements<T, kMaxHeadDim / 32>(args, stream);
}

}  // namespace

int LaunchAttention(const AttentionArgs& args, void* stream) {
  if (!Valid(args)) return kInvalidValue;
  return WithElementType(args.dtype, [&](auto e) { return LaunchFor<decltype(e)>(args, stream); });
}

}  // namespace STOWAGE_BACKEND

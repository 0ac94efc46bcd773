// Rotary position embedding of the new queries and keys, and the append of keys and values to the cache.
//
// Half-split rotation (transformers' rotate_half): with h = head_dim / 2 and angle = float(position) * inv_freq[i],
//   out[i]     = x[i] * cos - x[i + h] * sin
//   out[i + h] = x[i + h] * cos + x[i] * sin          for i < h
// angle, cos and sin in fp32; cos and sin, both products and the sum are rounded to the dtype, as eager torch does.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct RopeCacheArgs {
  Dtype dtype = Dtype::kF32;
  int tokens = 0;  // new positions past .. past + tokens - 1
  int past = 0;    // positions already in the cache
  int batch = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;                 // even
  int max_positions = 0;            // past + tokens <= max_positions
  const float* inv_freq = nullptr;  // [head_dim / 2], scaling included: kernels/rope_frequencies.h
  void* q = nullptr;                // [tokens * batch, heads, head_dim], rotated in place
  const void* k = nullptr;          // [tokens * batch, kv_heads, head_dim]; may be its place in k_cache
  const void* v = nullptr;          // as k; may be its place in v_cache
  void* k_cache = nullptr;          // [max_positions, batch, kv_heads, head_dim]; only the new positions are written
  void* v_cache = nullptr;          // as k_cache
};

// HostRopeCache divides the rows (tokens * batch).
int ReferenceRopeCache(const RopeCacheArgs& args);
int HostRopeCache(const RopeCacheArgs& args, Part part = {});
int LaunchRopeCache(const RopeCacheArgs& args, void* stream);
namespace emulated {
int LaunchRopeCache(const RopeCacheArgs& args, void* stream);
}

}  // namespace stowage::kernels

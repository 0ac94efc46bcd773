// Causal attention with grouped queries over the KV cache, new positions included (rope_cache wrote them).
//
//   out[t, b, h] = Σ_p softmax_p(q[t, b, h] · K[p, b, g] / sqrt(head_dim)) V[p, b, g]
//   p in [0, past + t],  g = h / (heads / kv_heads)
//
// Scores, softmax and sums in fp32; the result is rounded once. Memory beyond the arguments: none that grows with the
// number of positions squared.
#pragma once

#include "kernels/call.h"

namespace stowage::kernels {

struct AttentionArgs {
  Dtype dtype = Dtype::kF32;
  int tokens = 0;  // new positions past .. past + tokens - 1, at least 1
  int past = 0;    // positions before them
  int batch = 0;
  int heads = 0;
  int kv_heads = 0;               // divides heads
  int head_dim = 0;               // at most kMaxHeadDim
  const void* q = nullptr;        // [tokens * batch, heads, head_dim], rotated
  const void* k_cache = nullptr;  // [at least past + tokens, batch, kv_heads, head_dim]
  const void* v_cache = nullptr;  // as k_cache
  void* out = nullptr;            // [tokens * batch, heads * head_dim]; may be q
};

inline constexpr int kMaxHeadDim = 256;

// HostAttention divides the (row, head) pairs.
int ReferenceAttention(const AttentionArgs& args);
int HostAttention(const AttentionArgs& args, Part part = {});
int LaunchAttention(const AttentionArgs& args, void* stream);
namespace emulated {
int LaunchAttention(const AttentionArgs& args, void* stream);
}

}  // namespace stowage::kernels

// What every version of a family refuses with kInvalidValue. Internal to kernels/.
#pragma once

#include "kernels/argmax.h"
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/rms_norm.h"
#include "kernels/rope_cache.h"
#include "kernels/silu_mul.h"

namespace stowage::kernels {

inline bool Valid(const EmbeddingArgs& a) {
  return a.rows > 0 && a.hidden > 0 && a.vocab > 0 && a.ids && a.table && a.out;
}
inline bool Valid(const RmsNormArgs& a) { return a.rows > 0 && a.hidden > 0 && a.x && a.weight && a.y; }
inline bool Valid(const RopeCacheArgs& a) {
  return a.tokens > 0 && a.past >= 0 && a.batch > 0 && a.heads > 0 && a.kv_heads > 0 && a.head_dim > 0 &&
         a.head_dim % 2 == 0 && a.past <= a.max_positions - a.tokens && a.inv_freq && a.q && a.k && a.v && a.k_cache &&
         a.v_cache;
}
inline bool Valid(const LinearArgs& a) {
  return a.rows > 0 && a.k > 0 && 0 <= a.row_begin && a.row_begin < a.row_end && a.row_end <= a.n && a.x && a.weight &&
         a.y;
}
inline bool Valid(const AttentionArgs& a) {
  return a.tokens > 0 && a.past >= 0 && a.batch > 0 && a.heads > 0 && a.kv_heads > 0 && a.heads % a.kv_heads == 0 &&
         a.head_dim > 0 && a.head_dim <= kMaxHeadDim && a.q && a.k_cache && a.v_cache && a.out;
}
inline bool Valid(const SiluMulArgs& a) { return a.count > 0 && a.gate && a.up && a.out; }
inline bool Valid(const ArgmaxArgs& a) { return a.rows > 0 && a.vocab > 0 && a.logits && a.out; }
inline bool Valid(const ConvertArgs& a) { return a.count > 0 && a.from && a.to; }
inline bool Valid(Part p) { return p.count > 0 && 0 <= p.index && p.index < p.count; }

}  // namespace stowage::kernels

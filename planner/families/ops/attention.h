// Attention layers. Queries of `tokens` new positions see the positions before them and themselves; what they see is
// cached per layer, at most a window of it.
#pragma once

#include <cstdint>

#include "planner/families/ops/graph_builder.h"

namespace stowage {

// What a query at position p sees: p + 1 positions, or a window's worth, or its chunk up to itself.
class Seen {
 public:
  enum class Kind { kAll, kWindow, kChunk };
  Seen(Kind kind, std::int64_t size) : kind_(kind), size_(size) {}

  std::int64_t Before(std::int64_t position) const;  // summed over queries [0, position)
  // Of the passes [past + i * past_step] of a phase that ends with `end` positions, in pairs of query and key a head and
  // sequence. Exact where that is affine in i, which it is without a window and for a window that is full or never
  // fills; else the line of the same sum whose last value is exact (window) or the mean (chunk).
  AffineFlops Pairs(const Pass& pass, std::int64_t end) const;

 private:
  Kind kind_;
  std::int64_t size_;
};

// Self-attention of a decoder layer with its projections: separate or fused q, k and v, norms of q and k, rope where the
// layer has it, the cache, windows, sinks. `body` has the rope tables; `bias` is a table that is added to the scores, or
// kNoId.
ValueId SelfAttention(GraphBuilder& g, ModuleId body, ModuleId module, std::int32_t layer, ValueId x,
                      TensorId bias = kNoId);

// Of a decoder layer to an encoder's rows, `source` a sequence. `encoded`: those rows, in the pass that makes keys and
// values of them and caches them; kNoId in later ones.
ValueId CrossAttention(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId x, ValueId encoded,
                       std::int64_t source);

// DeepSeek's. With c = kv_lora_rank and r = rope_head_dim a position caches c + r numbers. A pass without past expands
// its own latents by kv_b; with one, kv_b is absorbed: q W_k against the latents, their weighted sum times W_v. Both
// multiply kv_b by each row once. Source: DeepSeek-V2 (arXiv 2405.04434) §2.1.
ValueId LatentAttention(GraphBuilder& g, ModuleId body, ModuleId module, std::int32_t layer, ValueId x);

// Without a cache and, unless `causal`, without a mask: every query sees all rows of k and v. `bias` is a table that is
// added to the scores, or kNoId.
ValueId Attend(GraphBuilder& g, ModuleId module, std::int32_t layer, ValueId q, ValueId k, ValueId v, bool causal,
               TensorId bias = kNoId);

}  // namespace stowage

// The operations of one pass, independent of any runtime: what is computed from what with which weights. How a runtime
// executes an op (kernels, temporaries) is planner/realize's business.
//
// Rows of activations are ordered position-major: row = token * batch + sequence, so the last token's rows are
// contiguous and appending a pass's rows to a cache laid out [position, batch, ...] is one contiguous slice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/units.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

using OpId = std::int32_t;
using ValueId = std::int32_t;

enum class OpKind : std::uint8_t {
  kEmbedding,  // ids -> rows of the table                       inputs: ids             weights: table [V, h]
  kRmsNorm,    //                                                inputs: x               weights: gain [h]
  kLinear,     // y = x W^T (+ bias)                             inputs: x               weights: W [n, k] (, bias [n])
  kRope,       // rotates q and k                                inputs: q, k            weights: inv_freq buffer
  kCacheAppend,  // k, v -> cache of this layer                    inputs: k, v            outputs: keys, values (whole
                 // cache)
  kAttention,    // causal, grouped queries                        inputs: q, keys, values
  kSilu,         //                                                inputs: x
  kMul,          //                                                inputs: a, b
  kAdd,          // residual                                       inputs: a, b
  kLastToken,    // drops all but the last position                inputs: x
  kArgmax,       // greedy choice                                  inputs: logits          outputs: ids
};

std::string_view Name(OpKind kind);

enum class ValueKind : std::uint8_t { kActivation, kTokenIds, kKeys, kValues, kLogits };

struct Value {
  std::string name;  // "model.layers.3.mlp.gate_proj.out"
  ValueKind kind = ValueKind::kActivation;
  DType dtype = DType::kBF16;
  std::int64_t rows = 0;       // tokens * batch (kKeys, kValues: positions of the whole cache * batch)
  std::int64_t width = 0;      // elements per row
  std::int32_t layer = kNoId;  // kKeys, kValues
  Bytes bytes() const { return SizeOf(dtype, rows * width); }
};

struct Op {
  OpKind kind = OpKind::kAdd;
  std::string name;  // "model.layers.3.self_attn.q_proj"
  ModuleId module = kNoId;
  std::int32_t layer = kNoId;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<TensorId> weights;
  // Work of iteration i. Bytes count each operand once: weights as touched (an embedding touches only the rows it
  // gathers), inputs read and outputs written; attention reads the cache's past + tokens positions.
  AffineFlops flops;
  AffineBytes weight_bytes;
  AffineBytes activation_bytes;
};

struct OpGraph {
  Pass pass;
  std::int64_t cache_positions = 0;  // capacity of each layer's cache
  std::vector<Value> values;
  std::vector<Op> ops;        // in execution order
  ValueId token_ids = kNoId;  // input
  ValueId logits = kNoId;
  ValueId next_ids = kNoId;  // output of argmax
};

// One line an op: "q_proj linear (h) -> (q) weights [...] flops ... bytes ...". The golden form of tests.
std::string Dump(const OpGraph& graph, const Model& model);

}  // namespace stowage

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
  kLayerNorm,    //                                                inputs: x               weights: (gain (, bias))
  kRmsNormOnePlus,   // gemma: times 1 + gain                      inputs: x               weights: gain
  kL2Norm,           // per head, no gain                          inputs: x
  kAddRows,          // plus rows of a table: positions, types     inputs: x               weights: table
  kConvolution,      // as a product, of patches or frames         inputs: image           weights: W (, bias)
  kPrependRow,       // the class token before the others          inputs: x               weights: row
  kSplitHeads,       // fused q, k, v; a view                      inputs: qkv             outputs: q, k, v
  kSplitHalves,      // fused gate and up; a view                  inputs: gate_up         outputs: gate, up
  kLatentAttention,  // kv_b absorbed into q and the result        inputs: q, latents      weights: kv_b
  kGelu,
  kGeluTanh,
  kQuickGelu,
  kRelu,
  kTanh,
  kOtherActivation,  // one that no kernel computes yet
  kClampedSwiglu,    // gpt-oss, with the product of gate and up     inputs: gate, up
  kSoftcap,
  kScale,
  kRoute,          // the experts of each row                      inputs: logits          outputs: routes
  kGroupedLinear,  // each row by its experts                      inputs: x, routes       weights: of all experts
  kCombine,        // weighted sum over the experts of a row       inputs: y, routes
  kFirstToken,     // the first position of each sequence          inputs: x
  kSelectToken,    // the position where each text ends            inputs: x
};
inline constexpr int kOpKinds = static_cast<int>(OpKind::kSelectToken) + 1;

std::string_view Name(OpKind kind);

enum class ValueKind : std::uint8_t {
  kActivation,
  kTokenIds,
  kKeys,  // or the latents of latent attention, which has no values
  kValues,
  kLogits,
  kInput,  // what the pass is given besides token ids: an image, mel frames
};

struct Value {
  std::string name;  // "model.layers.3.mlp.gate_proj.out"
  ValueKind kind = ValueKind::kActivation;
  DType dtype = DType::kBF16;
  std::int64_t rows = 0;       // tokens * batch (kKeys, kValues: positions of the layer's cache * batch)
  std::int64_t width = 0;      // elements per row
  std::int32_t layer = kNoId;  // kKeys, kValues: which of the caches; cross attention's come after all layers' own
  bool fixed = false;  // kKeys, kValues of cross attention: the first pass writes them whole, each reads them whole
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
  std::int64_t window = 0;  // attention: positions a query sees, itself included; 0: all before it
  bool plain = true;        // attention: causal, scaled by 1 / sqrt(head_dim), nothing else done to the scores
  double touched = 1;       // kGroupedLinear: share of `weights` that is expected to be read
  // Work of iteration i. Bytes count each operand once: weights as touched (an embedding touches only the rows it
  // gathers; experts: the expected bytes), inputs read and outputs written; attention reads the cache's past + tokens
  // positions. A window that fills during the phase is not affine: the line of the same sum over all passes and the
  // same last pass stands for it.
  AffineFlops flops;
  AffineBytes weight_bytes;
  AffineBytes activation_bytes;
};

// Of an encoder-decoder, pass and cache_positions are its decoder's: what that computes and caches of itself.
struct OpGraph {
  Pass pass;
  std::int64_t cache_positions = 0;  // of the request; a layer with a window keeps fewer
  std::int64_t first_id = 0;         // the ids that come before the decoder's own: those that an encoder reads
  std::vector<Value> values;
  std::vector<Op> ops;         // in execution order
  ValueId token_ids = kNoId;   // input
  ValueId source_ids = kNoId;  // input: what an encoder reads before the decoder
  ValueId input = kNoId;       // of kind kInput
  ValueId output = kNoId;      // of a model that makes no tokens: hidden states, a pooled state or its logits
  ValueId logits = kNoId;
  ValueId next_ids = kNoId;  // output of argmax
};

// One line an op: "q_proj linear (h) -> (q) weights [...] flops ... bytes ...". The golden form of tests.
std::string Dump(const OpGraph& graph, const Model& model);

}  // namespace stowage

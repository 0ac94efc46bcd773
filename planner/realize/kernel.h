// A kernel as a runtime launches it: the noun that the cost model prices, the schedule carries and the executor runs.
//
// Operands. A step that computes a kernel lists its slices in this order (a contract between the lowering and the
// executor):
//
//   kind        reads                                          writes
//   kEmbedding  ids [rows] int32, table [V, n]                 out [rows, n]
//   kRmsNorm    x [rows, n], gain [n]                          out [rows, n]
//   kLinear     x [rows, k], W [row_end - row_begin, k],       y [rows, n]: columns [row_begin, row_end) of it
//               (bias [row_end - row_begin] if has_bias,)
//               (y [rows, n] if accumulate)
//   kRopeCache  q [rows, heads * head_dim],                    q (in place), keys slice of the new positions,
//               k, v [rows, kv_heads * head_dim],              values slice of the new positions
//               inv_freq [head_dim / 2] fp32
//   kAttention  q [rows, heads * head_dim],                    out [rows, heads * head_dim]
//               keys, values [0, past + tokens) positions
//   kSiluMul    gate [rows, n], up [rows, n]                   out [rows, n] (may be gate)
//   kArgmax     logits [rows, n]                               ids [rows] int32
//   kConvert    x [n] in from_dtype                            y [n] in dtype
//   kOpaque     anything                                       anything (simulated only: torch operators, tests)
//
// Beyond llama; no device executes these yet. (…) is there or not.
//   kLayerNorm        x [rows, n] (, gain [n] (, bias [n]))    out
//   kRmsNormOnePlus   x, gain: by 1 + gain                     out
//   kL2Norm           x                                        x
//   kLinearTransposed as kLinear, W [k, n]
//   kQuantLinear      as kLinear, W in from_dtype, then its    y
//                     scales
//   kConvolution      x, W (, bias)                            y
//   kRope             q, k, inv_freq                           q, k
//   kCacheAppend      k (, v), the positions that are kept     keys (, values) slices
//   kSplitHeads       qkv [rows, n] (, inv_freq)               q, k, v: rows, or the cache's slices
//   kMaskedAttention  q, keys, values (, sinks or bias table)  out: with a window, a bias, a cap, no mask, …
//   kLatentAttention  q, latents [0, past + tokens), kv_b      out: kv_b absorbed into q and into the result
//   kActivation       x                                        x, by `function`
//   kActivationMul    gate, up, or both in one [rows, 2 n]     out
//   kAdd              a, b                                     a
//   kAddRows          x, table: positions, token types         x
//   kPrependRow       x, row [n]                               out: the row before each sequence's others
//   kSelectRows       x                                        out: one row a sequence, at its end-of-text token
//   kRoute            logits [rows, experts] (, bias)          routes [rows, experts per token]: id and weight
//   kGroupedLinear    x, routes, W of each expert or stacked   y [rows * experts per token, n]
//                     (, scales, biases likewise)
//   kCombine          y [rows * experts per token, n], routes  out: the weighted sum
//                     (, out if accumulate)
//
// Layouts: rows are position-major (row = token * batch + sequence); a cache is [positions, batch, kv_heads, head_dim].
// A cache shorter than the context is a ring of positions: any of its slots may be written and all are read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "planner/base/units.h"
#include "planner/model/dtype.h"

namespace stowage {

enum class KernelKind : std::uint8_t {
  kEmbedding,
  kRmsNorm,
  kLinear,
  kRopeCache,
  kAttention,
  kSiluMul,
  kArgmax,
  kConvert,
  kOpaque,
  kLayerNorm,
  kRmsNormOnePlus,
  kL2Norm,
  kLinearTransposed,
  kQuantLinear,
  kConvolution,
  kRope,
  kCacheAppend,
  kSplitHeads,
  kMaskedAttention,
  kLatentAttention,
  kActivation,
  kActivationMul,
  kAdd,
  kAddRows,
  kPrependRow,
  kSelectRows,
  kRoute,
  kGroupedLinear,
  kCombine,
};
inline constexpr int kKernelKinds = static_cast<int>(KernelKind::kCombine) + 1;

std::string_view Name(KernelKind kind);

// Of kActivation and kActivationMul.
enum class Function : std::uint8_t {
  kNone,
  kSilu,
  kGelu,
  kGeluTanh,
  kQuickGelu,
  kRelu,
  kTanh,
  kClampedSwiglu,  // gpt-oss: (up + 1) gate sigmoid(1.702 gate), both clamped
  kSoftcap,        // cap tanh(x / cap)
  kScale,
};
inline constexpr int kFunctions = static_cast<int>(Function::kScale) + 1;

std::string_view Name(Function function);

struct Kernel {
  KernelKind kind = KernelKind::kOpaque;
  std::string name;            // the op it realizes: "model.layers.0.self_attn.q_proj"; a torch operator: "mm.default"
  DType dtype = DType::kBF16;  // of activations, weights and cache; sums are fp32
  DType from_dtype = DType::kBF16;  // kConvert; kQuantLinear: of W
  Function function = Function::kNone;
  std::int64_t rows = 0;
  std::int64_t n = 0;          // width of the output
  std::int64_t k = 0;          // width of the input (kLinear)
  std::int64_t row_begin = 0;  // kLinear: the rows of W computed here, a whole matrix is [0, n); kGroupedLinear: of the
                               // one W given, when not all are
  std::int64_t row_end = 0;
  bool accumulate = false;  // kLinear: y += x W^T, the fused residual
  bool has_bias = false;
  std::int64_t batch = 1;
  std::int64_t tokens = 0;     // new positions per sequence
  std::int64_t past = 0;       // positions cached before iteration 0 (kRopeCache, kAttention)
  std::int64_t past_step = 0;  // growth per iteration
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t window = 0;  // kMaskedAttention: positions a query sees, itself included; 0: all
  double eps = 0;           // norms

  // Work of iteration i, as costed. For data-dependent work (expert routing) this is the expected value; what may be
  // touched at worst is what the step's slices say.
  AffineFlops flops{};
  AffineBytes bytes{};       // moved between the device's memory and its cores, each operand once
  AffineBytes host_bytes{};  // of these, read in place from host memory over the device's link (an embedding's gather)

  friend bool operator==(const Kernel&, const Kernel&) = default;
};

}  // namespace stowage

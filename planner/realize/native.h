// The native runtime's realization of a pass: one fused kernel where eager torch runs several, every temporary an
// explicit value with a lifetime. What is fused, and why it is exact:
//   linear + residual add      -> kLinear with accumulate, in place on the residual stream
//   rope + cache append        -> kRopeCache, keys rotated straight into the cache
//   silu + mul                 -> kSiluMul, in place on gate
//   last token, first token    -> nothing: later kernels read those rows
//   split heads + rope + cache append -> kSplitHeads: the fused rows are read once, keys and values go to the cache
//   gate and up in one matrix  -> kActivationMul reads both halves of a row
//   combine + residual add     -> kCombine with accumulate
// Each is the same arithmetic in the same order, except that a fused sum is not rounded to the dtype in between.
//
// Latent attention: a prefill expands keys and values of its own positions by kv_b, as a matrix product; a decode pass
// works on the cached latents. The cache of a layer with a window is a ring of that many positions; when a prefill is
// longer, it attends over its own keys and values and keeps the last ones.
#pragma once

#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/op_graph.h"
#include "planner/realize/kernel.h"

namespace stowage {

struct Operand {
  enum class Source : std::uint8_t {
    kActivation,  // id: index into NativeProgram::activations
    kWeight,      // id: TensorId (an untied owner)
    kKeys,        // id: layer
    kValues,      // id: layer
    kTokens,      // the token buffer, int32 [positions, batch]
  };
  Source source = Source::kActivation;
  std::int32_t id = kNoId;
  AffineBytes offset;  // within what it names
  AffineBytes bytes;

  friend bool operator==(const Operand&, const Operand&) = default;
};

struct NativeKernel {
  Kernel kernel;
  std::vector<Operand> reads;  // in the order kernel.h gives
  std::vector<Operand> writes;
  ModuleId module = kNoId;
  std::int32_t first_matrix = 0;  // reads[first_matrix, + matrices): weights whose rows may be split among launches, or
  std::int32_t matrices = 0;      // leave the device
  double touched = 1;             // share of the matrices' bytes that is expected to be read (experts)
};

struct LayerCache {
  Bytes keys;
  Bytes values;  // 0 for latents
};

struct Activation {
  std::string name;
  Bytes bytes;
  std::int32_t first = 0;  // the kernels [first, last] between which it must keep its contents
  std::int32_t last = 0;
};

struct NativeProgram {
  Pass pass;
  std::int64_t cache_positions = 0;
  std::vector<LayerCache> caches;  // by layer; empty without caches
  std::vector<Activation> activations;
  std::vector<NativeKernel> kernels;
  std::int32_t logits = kNoId;  // index into activations
  std::int64_t logit_rows = 0;
  std::int32_t input = kNoId;  // index into activations: there before the first kernel
  Operand output;              // of a model that makes no tokens; id kNoId for one that does
};

// Fails (kInternal) on an op pattern it does not know. graph and model must belong together.
Result<NativeProgram> RealizeNative(const Model& model, const OpGraph& graph);

// A kernel and an operand of pass `first + i * stride` of the phase whose program they are from, i being the body's
// iteration. The program must have pass.past_step 1, or 0: then they stay as they are.
Kernel AtPasses(const Kernel& kernel, std::int64_t first, std::int64_t stride);
Operand AtPasses(const Operand& operand, std::int64_t first, std::int64_t stride);
// Whether AtPasses changes the kernel.
bool DependsOnPass(const Kernel& kernel);

// The part of a kernel that multiplies by rows [row_begin, row_end) of `rows` of one matrix, the first or a later one.
// Linear: those output columns, those bytes. Grouped: this expert's rows, or for stacked matrices these experts. The
// matrix is the only one of the result.
NativeKernel RowTile(const NativeKernel& kernel, std::int64_t rows, std::int64_t row_begin, std::int64_t row_end,
                     std::int32_t matrix = 0);
// The part of a grouped kernel that multiplies by those of its matrices for which `keep` holds, by index.
NativeKernel Subset(const NativeKernel& kernel, const std::vector<bool>& keep);

// One line a kernel, with operands. The golden form of tests.
std::string Dump(const NativeProgram& program, const Model& model);

}  // namespace stowage

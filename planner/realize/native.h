// The native runtime's realization of a pass: one fused kernel where eager torch runs several, every temporary an
// explicit value with a lifetime. What is fused, and why it is exact:
//   linear + residual add      -> kLinear with accumulate, in place on the residual stream
//   rope + cache append        -> kRopeCache, keys rotated straight into the cache
//   silu + mul                 -> kSiluMul, in place on gate
//   last token                 -> nothing: later kernels read the last rows
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
  Bytes cache_bytes_per_layer;  // keys alone; values take the same
  std::vector<Activation> activations;
  std::vector<NativeKernel> kernels;
  std::int32_t logits = kNoId;  // index into activations
  std::int64_t logit_rows = 0;
};

// Fails (kInternal) on an op pattern it does not know. graph and model must belong together.
Result<NativeProgram> RealizeNative(const Model& model, const OpGraph& graph);

// A kernel and an operand of pass `first + i * stride` of the phase whose program they are from, i being the body's
// iteration. The program must have pass.past_step 1, or 0: then they stay as they are.
Kernel AtPasses(const Kernel& kernel, std::int64_t first, std::int64_t stride);
Operand AtPasses(const Operand& operand, std::int64_t first, std::int64_t stride);
// Whether AtPasses changes the kernel.
bool DependsOnPass(const Kernel& kernel);

// The part of a linear kernel that multiplies by rows [row_begin, row_end) of its matrix: those output columns, those
// bytes.
NativeKernel RowTile(const NativeKernel& linear, std::int64_t row_begin, std::int64_t row_end);

// One line a kernel, with operands. The golden form of tests.
std::string Dump(const NativeProgram& program, const Model& model);

}  // namespace stowage

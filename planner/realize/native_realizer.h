// The walk over an op graph that makes a NativeProgram of it, fusing as it goes. For native*.cc only.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/realize/native.h"

namespace stowage {

// `home_` maps each value of the graph to the activation that holds it: a byte offset in it (the last token's rows), or
// columns of each of its rows (the parts of a fused product).
class Realizer {
 public:
  Realizer(const Model& model, const OpGraph& graph);
  Result<NativeProgram> Run();

 private:
  struct Home {
    std::int32_t activation = kNoId;
    std::int64_t offset = 0;
    bool columns = false;
  };

  const Value& value(ValueId id) const { return graph_.values[static_cast<std::size_t>(id)]; }
  const Home& home(ValueId id) const { return home_[static_cast<std::size_t>(id)]; }
  const Op* Next(std::size_t ahead = 1) const {
    return op_ + ahead < graph_.ops.size() ? &graph_.ops[op_ + ahead] : nullptr;
  }
  bool LastUse(ValueId id, std::size_t op) const { return last_use_[static_cast<std::size_t>(id)] <= op; }
  bool UsedOnce(ValueId id) const { return uses_[static_cast<std::size_t>(id)] == 1; }

  Operand Read(ValueId id) const;  // columns: the rows they are in
  Operand Weight(TensorId t) const;
  Operand Fresh(ValueId id);
  Operand InPlace(ValueId out, ValueId in);
  // On `in` if this op is the last to use it, which `ahead` more ops may be fused into.
  Operand InPlaceOrFresh(ValueId out, ValueId in, std::size_t ahead = 0);
  Operand Cache(ValueId cache, bool whole) const;
  Operand Tokens(std::int64_t shift, std::int64_t tokens) const;

  Kernel Describe(KernelKind kind, const Op& op, const Value& out) const;
  static void AddWork(Kernel& kernel, const Op& op);
  NativeKernel& Emit(Kernel kernel, const Op& op, std::vector<Operand> reads, std::vector<Operand> writes);
  Status Unknown(const Op& op) const;

  Status Realize(const Op& op);
  Status RealizeMore(const Op& op);
  // native_realizer.cc
  Status Embedding(const Op& op);
  Status Norm(const Op& op, KernelKind kind);
  Status Linear(const Op& op);
  Status Activation(const Op& op, Function function);
  Status ActivationMul(const Op& op, ValueId gate, ValueId up, ValueId out, Kernel kernel);
  Status Add(const Op& op);
  Status Table(const Op& op, KernelKind kind);
  Status View(const Op& op, bool last);
  Status Argmax(const Op& op);
  // The residual that the next op adds to `op`'s result, if the kernel can add it in place; kNoId else.
  ValueId Residual(const Op& op) const;
  // Emits a kernel whose result goes onto `residual`, which the next op would add.
  NativeKernel& Accumulate(Kernel kernel, const Op& op, std::vector<Operand> reads, ValueId residual);
  // native_attention.cc
  Status Rope(const Op& op);
  Status CacheAppend(const Op& op);
  Status SplitHeads(const Op& op);
  Status Attention(const Op& op, KernelKind kind);
  bool RotatesWholeHeads(const Op& rope) const;
  bool IsRing(ValueId cache) const;  // shorter than the context
  void NoteCaches(const Op& append);
  // native_experts.cc
  Status SplitHalves(const Op& op);
  Status Route(const Op& op);
  Status Grouped(const Op& op);
  Status Combine(const Op& op);

  void FindLifetimes();

  const Model& model_;
  const OpGraph& graph_;
  NativeProgram program_;
  std::vector<Home> home_;
  std::vector<std::int32_t> uses_;     // by value
  std::vector<std::size_t> last_use_;  // by value: the last op that reads it
  std::size_t op_ = 0;
};

// Input, matrix rows with what belongs to them, and output columns, each once; an accumulating kernel also reads what it
// adds to.
AffineBytes LinearBytes(const NativeKernel& kernel);

}  // namespace stowage

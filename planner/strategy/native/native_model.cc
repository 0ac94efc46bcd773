#include "planner/families/families.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

void Note(const NativeProgram& program, NativeModel& out) {
  for (const NativeKernel& k : program.kernels) {
    for (std::size_t i = 0; i < k.reads.size(); ++i) {
      const Operand& o = k.reads[i];
      if (o.source != Operand::Source::kWeight) continue;
      if (out.uses[o.id] == 0) out.used.push_back(o.id);
      ++out.uses[o.id];
      if (k.kernel.kind == KernelKind::kEmbedding) out.gathered[o.id] = true;
      if (k.kernel.kind == KernelKind::kLinear && i == 1) out.multiplied[o.id] = true;
    }
  }
}

}  // namespace

Result<NativeModel> RealizeModel(const PlanningTask& task) {
  const Model& model = *task.model;
  const std::int64_t positions = task.request.CachePositions();
  NativeModel out;
  out.gathered.resize(model.tensors.size());
  out.multiplied.resize(model.tensors.size());
  out.uses.resize(model.tensors.size());
  STOWAGE_TRY(const OpGraph prefill, BuildOpGraph(model, PrefillOf(task.request), positions));
  STOWAGE_TRY(out.prefill, RealizeNative(model, prefill));
  Note(out.prefill, out);
  if (task.request.DecodePasses() > 0) {
    STOWAGE_TRY(const OpGraph decode, BuildOpGraph(model, DecodeOf(task.request), positions));
    STOWAGE_TRY(out.decode, RealizeNative(model, decode));
  }
  return out;
}

}  // namespace stowage

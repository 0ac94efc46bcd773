#include <fmt/format.h>

#include "planner/families/families.h"
#include "planner/strategy/native/layout.h"
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

Packing PackActivations(const NativeProgram& program) {
  std::vector<PackItem> items;
  for (const Activation& a : program.activations) items.push_back({a.bytes, a.first, a.last});
  return Pack(items, kAlignment);
}

Result<NativeModel> Realize(const PlanningTask& task) {
  const Model& model = *task.model;
  const std::int64_t positions = task.request.CachePositions();
  NativeModel out;
  out.gathered.resize(model.tensors.size());
  out.multiplied.resize(model.tensors.size());
  out.uses.resize(model.tensors.size());
  STOWAGE_TRY(const OpGraph prefill, BuildOpGraph(model, PrefillOf(task.request), positions));
  STOWAGE_TRY(out.prefill, RealizeNative(model, prefill));
  if (out.prefill.logits == kNoId) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} is a {}: without a head it makes no tokens", model.name, model.class_name)};
  }
  Note(out.prefill, out);
  out.prefill_packing = PackActivations(out.prefill);
  if (task.request.DecodePasses() > 0) {
    STOWAGE_TRY(const OpGraph decode, BuildOpGraph(model, DecodeOf(task.request), positions));
    STOWAGE_TRY(out.decode, RealizeNative(model, decode));
    out.decode_packing = PackActivations(out.decode);
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const NativeModel>> RealizeModel(const PlanningTask& task) {
  if (task.cache != nullptr && task.cache->native != nullptr) return task.cache->native;
  STOWAGE_RETURN_IF_ERROR(CheckKvCache(task.request, "native"));
  STOWAGE_TRY(NativeModel native, Realize(task));
  auto out = std::make_shared<const NativeModel>(std::move(native));
  if (task.cache != nullptr) task.cache->native = out;
  return out;
}

}  // namespace stowage

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "planner/families/families.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

constexpr std::int64_t kTileRows = 8;

bool AnyGathers(const NativeProgram& program) {
  return std::any_of(program.kernels.begin(), program.kernels.end(), GathersExperts);
}

std::int64_t RowStepOf(const Kernel& kernel, const Tensor& matrix) {
  const std::int64_t rows = RowsOf(matrix);
  if (kernel.kind == KernelKind::kLinearTransposed) return rows;
  if (matrix.shape.size() > 2) return 1;
  return rows % kTileRows == 0 ? kTileRows : 1;
}

// Notes what the kernels do with weights. `other`, by TensorId: read as something else than a matrix or a table.
void Note(const NativeProgram& program, const Model& model, NativeModel& out, std::vector<bool>& other, bool first) {
  for (const NativeKernel& k : program.kernels) {
    for (std::size_t i = 0; i < k.reads.size(); ++i) {
      const Operand& o = k.reads[i];
      if (o.source != Operand::Source::kWeight) continue;
      const bool matrix = k.matrices > 0 && i >= static_cast<std::size_t>(k.first_matrix) &&
                          i < static_cast<std::size_t>(k.first_matrix) + static_cast<std::size_t>(k.matrices);
      const bool table = k.kernel.kind == KernelKind::kEmbedding;
      other[o.id] = other[o.id] || (!matrix && !table);
      if (!first) continue;
      if (out.uses[o.id] == 0) out.used.push_back(o.id);
      ++out.uses[o.id];
      if (table) out.gathered[o.id] = true;
      if (!matrix) continue;
      out.multiplied[o.id] = true;
      out.expert[o.id] = k.kernel.kind == KernelKind::kGroupedLinear;
      out.row_step[o.id] = RowStepOf(k.kernel, model.tensors[o.id]);
    }
  }
}

// By TensorId: small tensors of a block that kernels of another one read.
void NoteShared(const NativeProgram& program, const Model& model, NativeModel& out) {
  for (const NativeKernel& k : program.kernels) {
    for (const Operand& o : k.reads) {
      if (o.source != Operand::Source::kWeight || out.multiplied[o.id] || model.tensors[o.id].buffer) continue;
      const ModuleId block = model.BlockOf(model.tensors[o.id].module);
      if (block != kNoId && model.BlockOf(k.module) != block) out.shared[o.id] = true;
    }
  }
}

Packing PackActivations(const NativeProgram& program) {
  std::vector<PackItem> items;
  for (const Activation& a : program.activations) items.push_back({a.bytes, a.first, a.last});
  return Pack(items, kAlignment);
}

WeightReads WeightsRead(const NativeProgram& program) {
  WeightReads out;
  out.begin.push_back(0);
  for (const NativeKernel& k : program.kernels) {
    for (const Operand& o : k.reads) {
      if (o.source == Operand::Source::kWeight) out.tensors.push_back(o.id);
    }
    out.begin.push_back(out.tensors.size());
  }
  return out;
}

Result<NativeModel> Realize(const PlanningTask& task) {
  const Model& model = *task.model;
  const std::int64_t positions = task.request.CachePositions();
  NativeModel out;
  for (std::vector<bool>* flags : {&out.gathered, &out.multiplied, &out.expert, &out.once, &out.shared}) {
    flags->resize(model.tensors.size());
  }
  out.row_step.resize(model.tensors.size(), 1);
  out.uses.resize(model.tensors.size());
  out.rows.reserve(model.tensors.size());
  out.row_bytes.reserve(model.tensors.size());
  for (const Tensor& t : model.tensors) {
    out.rows.push_back(RowsOf(t));
    out.row_bytes.push_back(RowBytes(t));
    out.load.push_back(LoadFactsOf(t));
  }
  std::vector<bool> other(model.tensors.size());
  if (!MakesTokens(model) && task.request.DecodePasses() > 0) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{} is a {}, which makes no tokens: ask for none (--new 0)",
                                                       model.name, model.class_name)};
  }
  STOWAGE_TRY(const OpGraph prefill, BuildOpGraph(model, PrefillOf(task.request), positions));
  STOWAGE_TRY(out.prefill, RealizeNative(model, prefill));
  const bool tokens = MakesTokens(model) && task.request.new_tokens > 0;
  if (out.prefill.logits == kNoId && (tokens || out.prefill.output.id == kNoId)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} is a {}: without a head it makes no tokens", model.name, model.class_name)};
  }
  Note(out.prefill, model, out, other, true);
  out.prefill_packing = PackActivations(out.prefill);
  if (task.request.DecodePasses() > 0) {
    STOWAGE_TRY(const OpGraph decode, BuildOpGraph(model, DecodeOf(task.request), positions));
    STOWAGE_TRY(out.decode, RealizeNative(model, decode));
    out.decode_packing = PackActivations(out.decode);
    Note(out.decode, model, out, other, false);
  }
  out.prefill_weights = WeightsRead(out.prefill);
  out.decode_weights = WeightsRead(out.decode);
  out.prefill_gathers = AnyGathers(out.prefill);
  out.decode_gathers = AnyGathers(out.decode);
  for (std::size_t t = 0; t < other.size(); ++t) {
    if (other[t]) out.multiplied[t] = false;
  }
  NoteShared(out.prefill, model, out);
  if (!out.decode.kernels.empty()) {
    for (const TensorId t : out.used) out.once[t] = true;
    for (const TensorId t : out.decode_weights.tensors) out.once[t] = false;
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const NativeModel>> RealizeModel(const PlanningTask& task) {
  std::unique_lock<std::mutex> lock;
  if (task.cache != nullptr) lock = std::unique_lock(task.cache->mutex);
  if (task.cache != nullptr && task.cache->native != nullptr) return task.cache->native;
  STOWAGE_RETURN_IF_ERROR(CheckForRuntime(task.request, "native"));
  STOWAGE_TRY(NativeModel native, Realize(task));
  auto out = std::make_shared<const NativeModel>(std::move(native));
  if (task.cache != nullptr) task.cache->native = out;
  return out;
}

}  // namespace stowage

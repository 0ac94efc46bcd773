#include "planner/strategy/native/layout.h"

#include <algorithm>

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;

const Operand* StreamedMatrix(const NativeKernel& kernel, const Model& model, const NativeProposal& proposal) {
  if (kernel.kernel.kind != KernelKind::kLinear) return nullptr;
  const Operand& weight = kernel.reads[1];
  return proposal.resident_rows[weight.id] < RowsOf(model.tensors[weight.id]) ? &weight : nullptr;
}

}  // namespace

std::int64_t RowsOf(const Tensor& tensor) { return tensor.Rows(); }
Bytes RowBytes(const Tensor& tensor) { return tensor.RowBytes(); }
Bytes StoredBytes(const Tensor& tensor) { return tensor.RowBytes() * tensor.Rows(); }

std::int64_t RowStep(const Tensor& tensor) { return RowsOf(tensor) % kTileRows == 0 ? kTileRows : 1; }

PassUnits UnitsOf(const NativeProgram& program, const Model& model, const NativeProposal& proposal) {
  PassUnits out;
  for (std::size_t i = 0; i < program.kernels.size(); ++i) {
    const NativeKernel& kernel = program.kernels[i];
    const auto index = static_cast<std::int32_t>(i);
    const Operand* matrix = StreamedMatrix(kernel, model, proposal);
    if (matrix == nullptr) {
      out.units.push_back({.kernel = index, .row_end = kernel.kernel.n});
      out.tiles.push_back(1);
      continue;
    }
    const Tensor& tensor = model.tensors[matrix->id];
    const std::int64_t rows = RowsOf(tensor);
    const std::int64_t resident = proposal.resident_rows[matrix->id];
    const std::int64_t step = RowStep(tensor);
    const std::int64_t per_tile = std::max<std::int64_t>(1, proposal.tile.value() / (RowBytes(tensor) * step).value());
    std::int16_t tile = 0;
    if (resident > 0) out.units.push_back({.kernel = index, .tile = tile++, .row_end = resident});
    // Equal tiles rather than full ones and a rest: the ring's offsets then repeat sooner.
    const std::int64_t groups = (rows - resident) / step;
    const std::int64_t count = (groups + per_tile - 1) / per_tile;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t begin = resident + groups * t / count * step;
      const std::int64_t end = resident + groups * (t + 1) / count * step;
      out.units.push_back({index, tile++, begin, end, static_cast<std::int32_t>(out.items.size())});
      out.items.push_back({matrix->id, begin, end, RowBytes(tensor) * (end - begin)});
    }
    out.tiles.push_back(tile);
  }
  return out;
}

NativeLayout LayOut(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const Model& model = *task.model;
  NativeLayout out;
  out.weight_offset.resize(model.tensors.size());
  out.master_offset.resize(model.tensors.size());
  out.master_begin.resize(model.tensors.size());
  for (const TensorId t : native.used) {
    const Tensor& tensor = model.tensors[t];
    const std::int64_t rows = RowsOf(tensor);
    const std::int64_t resident = proposal.resident_rows[t];
    out.weight_offset[t] = out.weights;
    out.weights += RoundUp(RowBytes(tensor) * resident, kAlignment);
    // An embedding gathers from one place, so a table that is not wholly resident is whole in host memory.
    out.master_begin[t] = resident == rows ? rows : native.gathered[t] ? 0 : resident;
    out.master_offset[t] = out.masters;
    out.masters += RoundUp(RowBytes(tensor) * (rows - out.master_begin[t]), kAlignment);
  }
  out.kv_side = RoundUp(native.prefill.cache_bytes_per_layer, kAlignment);
  out.kv = out.kv_side * (2 * model.shape.layers);
  out.activations = std::max(native.prefill_packing.size, native.decode_packing.size);
  out.tokens = Bytes((task.request.prompt_tokens + std::max<std::int64_t>(task.request.new_tokens, 1)) *
                     task.request.batch * kIdBytes);
  out.host_buffers = out.tokens + Bytes(task.request.prompt_tokens * task.request.batch * kIdBytes);
  if (task.request.all_logits) out.host_buffers += native.prefill.activations[native.prefill.logits].bytes;
  for (const TensorId t : native.used) {
    if (model.tensors[t].buffer) out.host_buffers += model.tensors[t].bytes();
  }
  return out;
}

FixedBytes FixedBytesOf(const NativeModel& native, const PlanningTask& task) {
  NativeProposal none;
  none.resident_rows.resize(task.model->tensors.size());
  const NativeLayout layout = LayOut(native, task, none);
  return {layout.kv, layout.activations, layout.tokens, task.machine->Reserved("gpu0")};
}

}  // namespace stowage

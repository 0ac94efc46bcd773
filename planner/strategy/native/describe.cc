#include "planner/strategy/native/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace stowage {
namespace {

std::vector<ArenaPlan> Arenas(const Schedule& schedule, const NativeModel& native) {
  std::vector<ArenaPlan> out;
  for (const Buffer& b : schedule.buffers) {
    if (b.parent >= 0 || b.file >= 0) continue;
    const Bytes bytes = b.bytes.at(0);
    const Bytes bound = b.kind == BufferKind::kActivations
                            ? std::max(native.prefill_packing.lower_bound, native.decode_packing.lower_bound)
                            : bytes;
    out.push_back({b.name, schedule.pools[b.pool].name, std::string(Name(b.kind)), bytes, bound});
  }
  return out;
}

TensorPlan DescribeTensor(const Model& model, TensorId id, const NativeModel& native, const NativeProposal& proposal,
                          const NativeLayout& layout) {
  const Tensor& t = model.tensors[id];
  TensorPlan out{.name = t.name, .dtype = t.dtype, .shape = t.shape, .device = "gpu0"};
  if (t.scales > Bytes(0)) out.scales = StoredBytes(t) - SizeOf(t.dtype, Elements(t.shape));
  const ModuleId block = model.BlockOf(t.module);
  if (block != kNoId) out.block = model.modules[block].name;
  if (t.tied_to != kNoId) {
    out.tied_to = model.tensors[t.tied_to].name;
    return out;
  }
  const std::int64_t rows = RowsOf(t), resident = proposal.resident_rows[id];
  if (resident > 0)
    out.parts.push_back({.pool = "gpu0", .arena = "weights", .offset = layout.weight_offset[id], .row_end = resident});
  if (resident == rows) return out;
  const Bytes master = layout.master_offset[id];
  const Bytes streamed_at = master + RowBytes(t) * (resident - layout.master_begin[id]);
  const auto stream_or_gather = [&](const char* phase, bool gathers) {
    out.parts.push_back(
        {gathers ? Where::kInPlace : Where::kStreamed, phase, "host", "host_weights", streamed_at, resident, rows});
  };
  if (native.multiplied[id]) {
    const bool first = native.expert[id] && native.prefill_gathers;
    const bool then = native.expert[id] && native.decode_gathers;
    const bool alike = first == then || native.decode.kernels.empty();
    stream_or_gather(alike ? "*" : "prefill", first);
    if (!alike) stream_or_gather("decode", then);
  }
  if (native.gathered[id]) out.parts.push_back({Where::kInPlace, "*", "host", "host_weights", master, 0, rows});
  return out;
}

void PlaceActivations(const NativeProgram& program, const Packing& packing, const char* phase,
                      std::vector<Placement>& out) {
  for (std::size_t a = 0; a < program.activations.size(); ++a) {
    const Activation& v = program.activations[a];
    out.push_back({v.name, "activations", packing.offsets[a], v.bytes, phase, v.first, v.last});
  }
}

}  // namespace

Plan DescribePlan(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal,
                  const NativeLayout& layout, const Schedule& schedule) {
  const Model& model = *task.model;
  Plan plan{.model = model.name,
            .strategy = proposal.strategy,
            .runtime = "native",
            .request = task.request,
            .refused = proposal.refused};
  for (const Pool& p : task.machine->pools) {
    if (p.kind != PoolKind::kDisk) plan.budgets.emplace_back(p.name, p.budget);
  }
  for (const Reservation& r : task.machine->reservations) plan.reservations.emplace_back(r.pool, r.bytes);
  plan.arenas = Arenas(schedule, native);
  std::vector<bool> placed(model.tensors.size());
  for (const TensorId t : native.used) placed[t] = true;
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    const TensorId owner = model.tensors[t].tied_to;
    if (owner == kNoId ? placed[t] : placed[owner]) {
      plan.tensors.push_back(DescribeTensor(model, static_cast<TensorId>(t), native, proposal, layout));
    } else {
      plan.refused.push_back(
          fmt::format("{} is not placed: no kernel of the native runtime reads it", model.tensors[t].name));
    }
  }
  const std::vector<LayerCache>& caches = native.prefill.caches;
  for (std::size_t l = 0; l < caches.size(); ++l) {
    plan.placements.push_back({fmt::format("layers.{}.keys", l), "kv", layout.keys_at[l], caches[l].keys, "*"});
    if (caches[l].values == Bytes(0)) continue;
    plan.placements.push_back({fmt::format("layers.{}.values", l), "kv", layout.values_at[l], caches[l].values, "*"});
  }
  PlaceActivations(native.prefill, native.prefill_packing, "prefill", plan.placements);
  PlaceActivations(native.decode, native.decode_packing, "decode", plan.placements);
  return plan;
}

}  // namespace stowage

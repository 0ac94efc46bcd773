#include "planner/strategy/native/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace stowage {
namespace {

std::vector<ArenaPlan> Arenas(const Schedule& schedule, const NativeLayout& layout) {
  std::vector<ArenaPlan> out;
  for (const Buffer& b : schedule.buffers) {
    if (b.parent >= 0 || b.file >= 0) continue;
    const Bytes bytes = b.bytes.at(0);
    Bytes bound = bytes;
    if (b.name == "activations") bound = std::max(layout.prefill.lower_bound, layout.decode.lower_bound);
    if (b.name == "host_activations") bound = std::max(layout.host_prefill.lower_bound, layout.host_decode.lower_bound);
    out.push_back({b.name, schedule.pools[b.pool].name, std::string(Name(b.kind)), bytes, bound});
  }
  return out;
}

// Which tensors are whose, phase by phase.
class Describer {
 public:
  Describer(const NativeModel& native, const Model& model, const NativeProposal& proposal, const NativeLayout& layout)
      : native_(native),
        model_(model),
        proposal_(proposal),
        layout_(layout),
        all_(ReadersOf(native, proposal, model.tensors.size())),
        prefill_(ReadersOf(native.prefill, proposal.prefill_on_host, model.tensors.size())),
        decode_(ReadersOf(native.decode, proposal.decode_on_host, model.tensors.size())),
        of_device_(model.modules.size()) {
    for (const TensorId t : native.used) {
      if (!all_.device[t]) continue;
      const ModuleId block = model.BlockOf(model.tensors[t].module);
      if (block != kNoId) of_device_[block] = true;
    }
  }

  TensorPlan Describe(TensorId id) const {
    const Tensor& t = model_.tensors[id];
    const TensorId owner = t.tied_to == kNoId ? id : t.tied_to;
    TensorPlan out{.name = t.name, .dtype = t.dtype, .shape = t.shape, .device = DeviceOf(owner)};
    if (t.scales > Bytes(0)) out.scales = StoredBytes(t) - SizeOf(t.dtype, Elements(t.shape));
    const ModuleId block = model_.BlockOf(t.module);
    if (block != kNoId) out.block = model_.modules[block].name;
    if (t.tied_to != kNoId) {
      out.tied_to = model_.tensors[t.tied_to].name;
      return out;
    }
    const bool decodes = !native_.decode.kernels.empty();
    out.parts = PartsIn("prefill", id, prefill_, out.device);
    for (const Residency& r : PartsIn("decode", id, decodes ? decode_ : prefill_, out.device)) {
      AddAlike(r, out.parts);
    }
    return out;
  }

 private:
  // What the host alone reads is the host's; in a block that the device computes too it is the device's by name.
  std::string DeviceOf(TensorId id) const {
    const ModuleId block = model_.BlockOf(model_.tensors[id].module);
    return (block == kNoId ? all_.device[id] : of_device_[block]) ? "gpu0" : "host";
  }

  // What the device reads, then what the host computes with. A tensor that no kernel of the phase reads stays where the
  // other one has it.
  std::vector<Residency> PartsIn(const char* phase, TensorId id, const Readers& readers,
                                 const std::string& device) const {
    std::vector<Residency> out;
    const Tensor& t = model_.tensors[id];
    const std::int64_t rows = RowsOf(t);
    const Bytes master = layout_.master_offset[id];
    const bool unread = !readers.device[id] && !readers.host[id];
    if (readers.device[id] || (unread && all_.device[id])) {
      out =
          PartsOnDevice(native_, model_, proposal_, layout_, id, phase, {"gpu0", "weights", layout_.weight_offset[id]});
    }
    if (readers.host[id] || out.empty()) {
      const Where where = device == "host" ? Where::kResident : out.empty() ? Where::kComputed : Where::kInPlace;
      out.push_back(
          {where, phase, "host", t.buffer ? t.name + "@host" : "host_weights", t.buffer ? Bytes(0) : master, 0, rows});
    }
    return out;
  }

  const NativeModel& native_;
  const Model& model_;
  const NativeProposal& proposal_;
  const NativeLayout& layout_;
  const Readers all_, prefill_, decode_;
  std::vector<bool> of_device_;  // by ModuleId: of blocks, some of whose tensors a kernel of the device reads
};

void PlaceActivations(const NativeProgram& program, const std::vector<bool>& on_host, const Crossings& crossings,
                      const SideActivations& device, const SideActivations& host, const char* phase,
                      std::vector<Placement>& out) {
  const bool crosses = !crossings.empty();
  const auto place = [&](const SideActivations& side, bool is_host, const char* arena) {
    const std::vector<Lifetime> lives =
        crosses ? LifetimesOn(is_host, program, on_host, crossings) : std::vector<Lifetime>{};
    for (std::size_t a = 0; a < program.activations.size(); ++a) {
      if (!side.there[a]) continue;
      const Activation& v = program.activations[a];
      const Lifetime life = crosses ? lives[a] : Lifetime{v.first, v.last};
      out.push_back({v.name, arena, side.at[a], v.bytes, phase, life.first, life.last});
    }
  };
  place(device, false, "activations");
  place(host, true, "host_activations");
}

}  // namespace

std::vector<Residency> PartsOnDevice(const NativeModel& native, const Model& model, const NativeProposal& proposal,
                                     const NativeLayout& layout, TensorId id, const char* phase,
                                     const DevicePlace& place) {
  std::vector<Residency> out;
  const Tensor& t = model.tensors[id];
  const std::int64_t rows = RowsOf(t), resident = proposal.resident_rows[id];
  const Bytes master = layout.master_offset[id];
  const bool decodes = !native.decode.kernels.empty() && std::string_view(phase) == "decode";
  const bool gathers_experts = decodes ? native.decode_gathers : native.prefill_gathers;
  if (resident > 0) out.push_back({Where::kResident, phase, place.pool, place.arena, place.offset, 0, resident});
  if (resident < rows && proposal.OnDisk(id)) {
    const Bytes from = RowBytes(t) * resident;  // in the file's tensor
    out.push_back({Where::kStreamed, phase, "disk", "", from, resident, rows});
  } else if (resident < rows && native.multiplied[id]) {
    const Bytes from = master + RowBytes(t) * (resident - layout.master_begin[id]);
    const Where where = native.expert[id] && gathers_experts ? Where::kInPlace : Where::kStreamed;
    out.push_back({where, phase, "host", "host_weights", from, resident, rows});
  }
  if (resident < rows && native.gathered[id]) {
    out.push_back({Where::kInPlace, phase, "host", "host_weights", master, 0, rows});
  }
  return out;
}

void AddAlike(const Residency& part, std::vector<Residency>& parts) {
  for (Residency& first : parts) {
    if (first.phases != "prefill" || first.where != part.where || first.pool != part.pool ||
        first.offset != part.offset || first.row_begin != part.row_begin || first.row_end != part.row_end) {
      continue;
    }
    first.phases = "*";
    return;
  }
  parts.push_back(part);
}

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
  plan.arenas = Arenas(schedule, layout);
  const Describer describer(native, model, proposal, layout);
  std::vector<bool> placed(model.tensors.size());
  for (const TensorId t : native.used) placed[t] = true;
  for (std::size_t t = 0; t < model.tensors.size(); ++t) {
    const TensorId owner = model.tensors[t].tied_to;
    if (owner == kNoId ? placed[t] : placed[owner]) {
      plan.tensors.push_back(describer.Describe(static_cast<TensorId>(t)));
    } else {
      plan.refused.push_back(
          fmt::format("{} is not placed: no kernel of the native runtime reads it", model.tensors[t].name));
    }
  }
  const std::vector<LayerCache>& caches = native.prefill.caches;
  for (std::size_t l = 0; l < caches.size(); ++l) {
    const char* arena = OnHost(proposal.cache_on_host, l) ? "host_kv" : "kv";
    plan.placements.push_back({CacheName(model, l, "keys"), arena, layout.keys_at[l], caches[l].keys, "*"});
    if (caches[l].values == Bytes(0)) continue;
    plan.placements.push_back({CacheName(model, l, "values"), arena, layout.values_at[l], caches[l].values, "*"});
  }
  PlaceActivations(native.prefill, proposal.prefill_on_host, layout.prefill_crossings, layout.prefill,
                   layout.host_prefill, "prefill", plan.placements);
  PlaceActivations(native.decode, proposal.decode_on_host, layout.decode_crossings, layout.decode, layout.host_decode,
                   "decode", plan.placements);
  return plan;
}

}  // namespace stowage

#include "planner/strategy/native/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/families/families.h"
#include "planner/strategy/native/disk_feed.h"

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;

// Adds launches and pieces of a pass, kernel by kernel.
class UnitMaker {
 public:
  UnitMaker(const NativeModel& native, const Model& model, const NativeProposal& proposal)
      : native_(native), model_(model), proposal_(proposal) {}

  void Add(std::int32_t index, const NativeKernel& kernel, bool on_host) {
    index_ = index;
    tile_ = 0;
    if (on_host) {
      Launch({});
      out_.tiles.push_back(tile_);
      return;
    }
    const std::vector<bool> resident = WhollyResident(kernel, model_, proposal_);
    const std::int64_t streamed = std::count(resident.begin(), resident.end(), false);
    if (streamed == 0 || (GathersExperts(kernel) && !ReadsFromDisk(kernel, proposal_))) {
      Launch({});
    } else {
      if (streamed < kernel.matrices) Launch({.part = Unit::Part::kResident});
      for (std::int32_t m = 0; m < kernel.matrices; ++m) {
        if (!resident[static_cast<std::size_t>(m)]) Stream(m, kernel.reads[kernel.first_matrix + m].id);
      }
    }
    out_.tiles.push_back(tile_);
  }

  PassUnits Take() { return std::move(out_); }

 private:
  void Launch(Unit unit) {
    unit.kernel = index_;
    unit.tile = tile_++;
    out_.units.push_back(unit);
  }

  // The resident rows, then equal tiles of the others rather than full ones and a rest: the ring's offsets then repeat
  // sooner.
  void Stream(std::int32_t matrix, TensorId id) {
    const Tensor& tensor = model_.tensors[id];
    const std::int64_t rows = RowsOf(tensor), resident = proposal_.resident_rows[id], step = native_.row_step[id];
    const std::int64_t per_tile = std::max<std::int64_t>(1, proposal_.tile.value() / (RowBytes(tensor) * step).value());
    if (resident > 0) Launch({.part = Unit::Part::kTile, .matrix = matrix, .row_end = resident});
    const std::int64_t groups = (rows - resident) / step;
    const std::int64_t count = (groups + per_tile - 1) / per_tile;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t begin = resident + groups * t / count * step;
      const std::int64_t end = resident + groups * (t + 1) / count * step;
      Launch({.part = Unit::Part::kTile,
              .matrix = matrix,
              .row_begin = begin,
              .row_end = end,
              .item = static_cast<std::int32_t>(out_.items.size())});
      out_.items.push_back({id, begin, end, RowBytes(tensor) * (end - begin)});
    }
  }

  const NativeModel& native_;
  const Model& model_;
  const NativeProposal& proposal_;
  PassUnits out_;
  std::int32_t index_ = 0;
  std::int16_t tile_ = 0;
};

}  // namespace

std::int64_t RowsOf(const Tensor& tensor) { return tensor.Rows(); }
Bytes RowBytes(const Tensor& tensor) { return tensor.RowBytes(); }
Bytes StoredBytes(const Tensor& tensor) { return tensor.RowBytes() * tensor.Rows(); }

std::vector<bool> WhollyResident(const NativeKernel& kernel, const Model& model, const NativeProposal& proposal) {
  std::vector<bool> out;
  for (std::int32_t m = 0; m < kernel.matrices; ++m) {
    const TensorId t = kernel.reads[kernel.first_matrix + m].id;
    out.push_back(proposal.resident_rows[t] == RowsOf(model.tensors[t]));
  }
  return out;
}

PassUnits UnitsOf(const NativeProgram& program, const std::vector<bool>& on_host, const NativeModel& native,
                  const Model& model, const NativeProposal& proposal) {
  UnitMaker maker(native, model, proposal);
  for (std::size_t i = 0; i < program.kernels.size(); ++i) {
    maker.Add(static_cast<std::int32_t>(i), program.kernels[i], OnHost(on_host, i));
  }
  return maker.Take();
}

namespace {

void LayOutWeights(const NativeModel& native, const Model& model, const NativeProposal& proposal, NativeLayout& out) {
  out.weight_offset.resize(model.tensors.size());
  out.master_offset.resize(model.tensors.size());
  out.master_begin.resize(model.tensors.size());
  const std::vector<bool> on_host = HostReaders(native, proposal, model.tensors.size());
  for (const TensorId t : native.used) {
    const std::int64_t rows = native.rows[t], resident = proposal.resident_rows[t];
    const Bytes row = native.row_bytes[t];
    out.weight_offset[t] = out.weights;
    out.weights += RoundUp(row * resident, kAlignment);
    // An embedding gathers from one place and the host's cores compute from one, so a table that is not wholly resident
    // and what the host reads are whole in host memory. (Computed tables are there anyway.)
    const bool whole = native.gathered[t] || on_host[t];
    const bool none = native.load[t].computed || proposal.OnDisk(t) || (resident == rows && !on_host[t]);
    out.master_begin[t] = none ? rows : whole ? 0 : resident;
    out.master_offset[t] = out.masters;
    out.masters += RoundUp(row * (rows - out.master_begin[t]), kAlignment);
  }
}

SideActivations PackSide(bool host, const NativeProgram& program, const std::vector<bool>& on_host,
                         const Crossings& crossings) {
  const std::vector<Lifetime> lives = LifetimesOn(host, program, on_host, crossings);
  SideActivations out{.at = std::vector<Bytes>(lives.size()), .there = std::vector<bool>(lives.size())};
  std::vector<PackItem> items;
  for (std::size_t a = 0; a < lives.size(); ++a) {
    out.there[a] = lives[a].first <= lives[a].last;
    if (out.there[a]) items.push_back({program.activations[a].bytes, lives[a].first, lives[a].last});
  }
  const Packing packing = Pack(items, kAlignment);
  for (std::size_t a = 0, i = 0; a < lives.size(); ++a) {
    if (out.there[a]) out.at[a] = packing.offsets[i++];
  }
  out.size = packing.size;
  out.lower_bound = packing.lower_bound;
  return out;
}

// All of a program's activations on the device, as packed for every proposal.
SideActivations AllOf(const Packing& packing) {
  return {packing.offsets, std::vector<bool>(packing.offsets.size(), true), packing.size, packing.lower_bound};
}

void LayOutActivations(const NativeModel& native, const NativeProposal& proposal, NativeLayout& out) {
  const auto lay_out = [](const NativeProgram& program, const Packing& packing, const std::vector<bool>& on_host,
                          Crossings& crossings, SideActivations& device, SideActivations& host) {
    crossings = CrossingsOf(program, on_host);
    if (crossings.empty()) {
      device = AllOf(packing);
      host = {std::vector<Bytes>(packing.offsets.size()), std::vector<bool>(packing.offsets.size()), {}, {}};
      return;
    }
    device = PackSide(false, program, on_host, crossings);
    host = PackSide(true, program, on_host, crossings);
  };
  lay_out(native.prefill, native.prefill_packing, proposal.prefill_on_host, out.prefill_crossings, out.prefill,
          out.host_prefill);
  lay_out(native.decode, native.decode_packing, proposal.decode_on_host, out.decode_crossings, out.decode,
          out.host_decode);
  out.activations = std::max(out.prefill.size, out.decode.size);
  out.host_activations = std::max(out.host_prefill.size, out.host_decode.size);
}

void LayOutCaches(const NativeModel& native, const NativeProposal& proposal, NativeLayout& out) {
  for (std::size_t l = 0; l < native.prefill.caches.size(); ++l) {
    const LayerCache& cache = native.prefill.caches[l];
    Bytes& arena = OnHost(proposal.cache_on_host, l) ? out.host_kv : out.kv;
    out.keys_at.push_back(arena);
    arena += RoundUp(cache.keys, kAlignment);
    out.values_at.push_back(arena);
    arena += RoundUp(cache.values, kAlignment);
  }
}

// All but weights and what host memory holds beside them.
NativeLayout WithoutWeights(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  NativeLayout out;
  LayOutCaches(native, proposal, out);
  LayOutActivations(native, proposal, out);
  out.tokens =
      Bytes((PromptIds(*task.model, task.request.prompt_tokens) + std::max<std::int64_t>(task.request.new_tokens, 1)) *
            task.request.batch * kIdBytes);
  out.ids_on_host = TouchesTokens(true, native, proposal);
  if (!out.ids_on_host || TouchesTokens(false, native, proposal)) out.device_tokens = out.tokens;
  return out;
}

}  // namespace

std::string CacheName(const Model& model, std::size_t cache, std::string_view what) {
  const auto layers = static_cast<std::size_t>(model.shape.layers);
  if (cache < layers) return fmt::format("layers.{}.{}", cache, what);
  return fmt::format("layers.{}.cross_{}", cache - layers, what);
}

NativeLayout LayOut(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const Model& model = *task.model;
  NativeLayout out = WithoutWeights(native, task, proposal);
  LayOutWeights(native, model, proposal, out);
  out.host_buffers = out.tokens + Bytes(PromptIds(model, task.request.prompt_tokens) * task.request.batch * kIdBytes);
  if (native.prefill.input != kNoId) out.host_buffers += native.prefill.activations[native.prefill.input].bytes;
  if (native.prefill.output.id != kNoId) {
    out.host_buffers += Bytes(native.prefill.output.bytes.base);
  } else if (task.request.all_logits)
    out.host_buffers += native.prefill.activations[native.prefill.logits].bytes;
  for (const TensorId t : native.used) {
    if (native.load[t].computed) out.host_buffers += model.tensors[t].bytes();
  }
  return out;
}

FixedBytes FixedBytesOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = WithoutWeights(native, task, proposal);
  return {layout.kv, layout.activations, layout.device_tokens, task.machine->Reserved("gpu0")};
}

FixedBytes FixedBytesOf(const NativeModel& native, const PlanningTask& task) {
  return FixedBytesOf(native, task, NativeProposal{});
}

}  // namespace stowage

#include "planner/strategy/native/chain_describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/strategy/native/describe.h"
#include "planner/strategy/native/layout.h"

namespace stowage {
namespace {

class ChainDescriber {
 public:
  ChainDescriber(const ChainCase& c, const Schedule& schedule) : c_(c), schedule_(schedule) {}

  Plan Run() {
    Plan plan{.model = c_.model().name,
              .strategy = c_.proposal.strategy,
              .runtime = "native",
              .request = c_.task.request,
              .refused = c_.proposal.refused};
    for (const Pool& p : c_.task.machine->pools) {
      if (p.kind != PoolKind::kDisk) plan.budgets.emplace_back(p.name, p.budget);
    }
    for (const Reservation& r : c_.task.machine->reservations) plan.reservations.emplace_back(r.pool, r.bytes);
    AddArenas(plan);
    AddTensors(plan);
    AddPlacements(plan);
    return plan;
  }

 private:
  void AddArenas(Plan& plan) const {
    for (const Buffer& b : schedule_.buffers) {
      if (b.parent >= 0 || b.file >= 0) continue;
      const std::string& pool = schedule_.pools[b.pool].name;
      const Bytes bytes = b.bytes.at(0);
      Bytes bound = bytes;
      if (b.kind == BufferKind::kActivations) bound = BoundOf(pool, bytes);
      plan.arenas.push_back({b.name, pool, std::string(Name(b.kind)), bytes, bound});
    }
  }

  Bytes BoundOf(const std::string& pool, Bytes bytes) const {
    for (std::size_t g = 0; g < c_.gpus(); ++g) {
      const ChainPass &prefill = c_.layout.prefill, &decode = c_.layout.decode;
      if (pool != fmt::format("gpu{}", g)) continue;
      return bytes - std::max(prefill.packed_bytes[g], decode.packed_bytes[g]) +
             std::max(prefill.packed_bound[g], decode.packed_bound[g]);
    }
    return bytes;
  }

  void AddTensors(Plan& plan) const {
    const std::vector<Tensor>& tensors = c_.model().tensors;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const Tensor& t = tensors[i];
      const auto owner = t.tied_to == kNoId ? static_cast<TensorId>(i) : t.tied_to;
      std::size_t gpu = t.buffer ? 0 : static_cast<std::size_t>(c_.proposal.gpu[owner]);
      if (c_.layout.weight_at[gpu][owner] == kNowhere) gpu = 0;
      while (gpu < c_.gpus() && c_.layout.weight_at[gpu][owner] == kNowhere) ++gpu;
      if (gpu == c_.gpus()) {
        plan.refused.push_back(t.name + " is not placed: no kernel of the native runtime reads it");
        continue;
      }
      TensorPlan out{.name = t.name, .dtype = t.dtype, .shape = t.shape, .device = fmt::format("gpu{}", gpu)};
      if (t.scales > Bytes(0)) out.scales = StoredBytes(t) - SizeOf(t.dtype, Elements(t.shape));
      const ModuleId block = c_.model().BlockOf(t.module);
      if (block != kNoId) out.block = c_.model().modules[block].name;
      if (t.tied_to != kNoId) {
        out.tied_to = tensors[owner].name;
      } else {
        const DevicePlace place{out.device, OnGpu("weights", gpu), c_.layout.weight_at[gpu][owner]};
        for (const char* phase : {"prefill", "decode"}) {
          for (const Residency& r : PartsOnDevice(c_.native, c_.model(), c_.rows, c_.whole, owner, phase, place)) {
            AddAlike(r, out.parts);
          }
        }
      }
      plan.tensors.push_back(std::move(out));
      if (t.tied_to == kNoId) AddCopies(t, owner, gpu, plan);
    }
  }

  // A table that other GPUs than `home` read, too.
  void AddCopies(const Tensor& t, TensorId id, std::size_t home, Plan& plan) const {
    for (std::size_t g = 0; g < c_.gpus(); ++g) {
      const Bytes at = c_.layout.weight_at[g][id];
      if (g == home || at == kNowhere) continue;
      plan.placements.push_back({OnGpu(t.name, g), OnGpu("weights", g), at, StoredBytes(t), "*"});
    }
  }

  void AddPlacements(Plan& plan) const {
    const std::int64_t count = c_.proposal.micro_batches;
    const std::vector<LayerCache>& caches = c_.native.prefill.caches;
    for (std::int64_t m = 0; m < count; ++m) {
      for (std::size_t l = 0; l < caches.size(); ++l) {
        const auto g = static_cast<std::size_t>(c_.layout.layer_gpu[l]);
        const Bytes begin = c_.layout.kv_each[g] * m;
        const auto add = [&](const char* what, Bytes at, Bytes bytes) {
          if (bytes == Bytes(0)) return;
          const std::string name = OfMicroBatch(CacheName(c_.model(), l, what), m, count);
          plan.placements.push_back({name, OnGpu("kv", g), begin + at, bytes, "*"});
        };
        add("keys", c_.layout.keys_at[l], caches[l].keys);
        add("values", c_.layout.values_at[l], caches[l].values);
      }
      AddActivations(false, m, plan);
      AddActivations(true, m, plan);
    }
  }

  // What is copied is there for the whole phase; what is packed is the same for all micro-batches.
  void AddActivations(bool decode, std::int64_t m, Plan& plan) const {
    const NativeProgram& program = decode ? c_.native.decode : c_.native.prefill;
    const ChainPass& pass = decode ? c_.layout.decode : c_.layout.prefill;
    const std::int64_t count = c_.proposal.micro_batches;
    const auto kernels = static_cast<std::int32_t>(program.kernels.size());
    for (std::size_t g = 0; g < c_.gpus(); ++g) {
      const auto gpu = static_cast<std::int16_t>(g);
      for (std::size_t a = 0; a < program.activations.size(); ++a) {
        const bool crosses = pass.crosses[g][a] != kNowhere;
        const Bytes at = c_.layout.ActivationAt(decode, gpu, static_cast<std::int32_t>(a), m, count);
        if (at == kNowhere || (!crosses && m > 0)) continue;
        const Activation& v = program.activations[a];
        const auto [first, last] = crosses ? std::pair(0, kernels - 1) : pass.lives[g].at(static_cast<std::int32_t>(a));
        const std::string name = crosses ? OfMicroBatch(v.name, m, count) : v.name;
        plan.placements.push_back(
            {name, OnGpu("activations", g), at, v.bytes, decode ? "decode" : "prefill", first, last});
      }
    }
  }

  const ChainCase& c_;
  const Schedule& schedule_;
};

}  // namespace

std::string OnGpu(std::string_view what, std::size_t gpu) {
  return gpu == 0 ? std::string(what) : fmt::format("{}.gpu{}", what, gpu);
}

std::string OfMicroBatch(std::string_view what, std::int64_t m, std::int64_t micro_batches) {
  return micro_batches == 1 ? std::string(what) : fmt::format("{}.{}", what, m);
}

Plan DescribeChain(const ChainCase& c, const Schedule& schedule) { return ChainDescriber(c, schedule).Run(); }

}  // namespace stowage

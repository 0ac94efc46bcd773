#include "planner/strategy/native/chain_layout.h"

#include <algorithm>
#include <map>
#include <utility>

#include "planner/families/families.h"
#include "planner/solve/pack/pack.h"
#include "planner/strategy/native/layout.h"

namespace stowage {
namespace {

constexpr std::int64_t kIdBytes = 4;

using Source = Operand::Source;

// Finds the runs of a program and places its activations.
class PassMaker {
 public:
  PassMaker(const NativeProgram& program, const std::vector<bool>& shared, const Model& model,
            const ChainProposal& proposal, std::int64_t gpus)
      : program_(program), shared_(shared), model_(model), proposal_(proposal), gpus_(static_cast<std::size_t>(gpus)) {}

  ChainPass Run() {
    FindRuns();
    FindTransfers();
    Place();
    return std::move(out_);
  }

 private:
  // Where its weights are; without any, where the kernel before it ran.
  std::int16_t GpuOf(const NativeKernel& kernel, std::int16_t before) const {
    for (const Operand& o : kernel.reads) {
      if (o.source != Source::kWeight || model_.tensors[o.id].buffer || shared_[o.id]) continue;
      return proposal_.gpu[o.id];
    }
    return before;
  }

  void FindRuns() {
    std::int16_t gpu = proposal_.gpu.empty() ? std::int16_t{0} : proposal_.gpu[0];
    for (std::size_t k = 0; k < program_.kernels.size(); ++k) {
      gpu = GpuOf(program_.kernels[k], gpu);
      const auto index = static_cast<std::int32_t>(k);
      if (out_.runs.empty() || out_.runs.back().gpu != gpu) out_.runs.push_back({gpu, index, index, {}});
      out_.runs.back().end = index + 1;
    }
  }

  void FindTransfers() {
    std::vector<std::int32_t> writer(program_.activations.size(), -1);
    std::vector<std::vector<std::int16_t>> valid(program_.activations.size());  // GPUs that have its contents
    std::vector<std::int16_t> home(program_.activations.size(), -1);            // of the writer
    for (ChainRun& run : out_.runs) {
      const auto need = [&](const Operand& o) {
        auto& at = valid[o.id];
        if (writer[o.id] < 0 || std::find(at.begin(), at.end(), run.gpu) != at.end()) return;
        run.arrives.push_back({o.id, home[o.id], writer[o.id]});
        at.push_back(run.gpu);
      };
      for (std::int32_t k = run.begin; k < run.end; ++k) {
        const NativeKernel& kernel = program_.kernels[k];
        for (const Operand& o : kernel.reads) {
          if (o.source == Source::kActivation) need(o);
        }
        for (const Operand& o : kernel.writes) {
          if (o.source != Source::kActivation) continue;
          if (o.bytes.base < program_.activations[o.id].bytes.value()) need(o);  // the rest of it stays
          writer[o.id] = k;
          home[o.id] = run.gpu;
          valid[o.id] = {run.gpu};
        }
      }
    }
  }

  void Place() {
    const std::size_t count = program_.activations.size();
    std::vector<std::vector<bool>> copied(gpus_, std::vector<bool>(count));
    for (const ChainRun& run : out_.runs) {
      for (const ChainTransfer& t : run.arrives) copied[run.gpu][t.activation] = copied[t.from][t.activation] = true;
    }
    if (proposal_.micro_batches > 1) NoteWhatOutlivesARun(copied);
    for (std::size_t g = 0; g < gpus_; ++g) {
      out_.packed.emplace_back(count, kNowhere);
      out_.crosses.emplace_back(count, kNowhere);
      const auto& lives = out_.lives.emplace_back(LivesOn(g));
      std::vector<PackItem> items;
      std::vector<std::int32_t> ids;
      Bytes at;
      for (const auto& [id, life] : lives) {
        const Bytes bytes = program_.activations[id].bytes;
        if (copied[g][id]) {
          out_.crosses[g][id] = std::exchange(at, at + RoundUp(bytes, kAlignment));
        } else {
          items.push_back({bytes, life.first, life.second});
          ids.push_back(id);
        }
      }
      const Packing packing = Pack(items, kAlignment);
      for (std::size_t i = 0; i < ids.size(); ++i) out_.packed[g][ids[i]] = packing.offsets[i];
      out_.packed_bytes.push_back(packing.size);
      out_.packed_bound.push_back(packing.lower_bound);
      out_.crosses_bytes.push_back(at);
    }
  }

  // What is packed belongs to the micro-batch that runs: between two runs of a GPU the next one may run there. An
  // encoder's rows wait for the decoder's layers.
  void NoteWhatOutlivesARun(std::vector<std::vector<bool>>& copied) const {
    std::vector<std::map<std::int32_t, std::size_t>> first(gpus_);  // [gpu][activation]: the run that used it first
    for (std::size_t r = 0; r < out_.runs.size(); ++r) {
      const ChainRun& run = out_.runs[r];
      for (std::int32_t k = run.begin; k < run.end; ++k) {
        for (const auto* operands : {&program_.kernels[k].reads, &program_.kernels[k].writes}) {
          for (const Operand& o : *operands) {
            if (o.source != Source::kActivation) continue;
            if (first[run.gpu].try_emplace(o.id, r).first->second != r) copied[run.gpu][o.id] = true;
          }
        }
      }
    }
  }

  // First and last kernel that use each activation there.
  std::map<std::int32_t, std::pair<std::int32_t, std::int32_t>> LivesOn(std::size_t gpu) const {
    std::map<std::int32_t, std::pair<std::int32_t, std::int32_t>> lives;
    for (const ChainRun& run : out_.runs) {
      if (static_cast<std::size_t>(run.gpu) != gpu) continue;
      for (std::int32_t k = run.begin; k < run.end; ++k) {
        const NativeKernel& kernel = program_.kernels[k];
        for (const auto* operands : {&kernel.reads, &kernel.writes}) {
          for (const Operand& o : *operands) {
            if (o.source != Source::kActivation) continue;
            lives.try_emplace(o.id, k, k).first->second.second = k;
          }
        }
      }
    }
    return lives;
  }

  const NativeProgram& program_;
  const std::vector<bool>& shared_;  // by TensorId: see NativeModel
  const Model& model_;
  const ChainProposal& proposal_;
  const std::size_t gpus_;
  ChainPass out_;
};

class LayoutMaker {
 public:
  LayoutMaker(const NativeModel& native, const PlanningTask& task, const ChainProposal& proposal,
              const NativeProposal& rows)
      : native_(native), task_(task), proposal_(proposal), rows_(rows) {
    out_.gpus = static_cast<std::int64_t>(task.machine->gpus.size());
  }

  ChainLayout Run() {
    const auto gpus = static_cast<std::size_t>(out_.gpus);
    out_.prefill = PassMaker(native_.prefill, native_.shared, *task_.model, proposal_, out_.gpus).Run();
    out_.decode = PassMaker(native_.decode, native_.shared, *task_.model, proposal_, out_.gpus).Run();
    out_.weight_at.assign(gpus, std::vector(task_.model->tensors.size(), kNowhere));
    out_.weights.resize(gpus);
    out_.tokens.resize(gpus);
    out_.kv_each.resize(gpus);
    out_.layer_gpu.assign(native_.prefill.caches.size(), 0);
    for (const auto& [program, pass] : {std::pair(&native_.prefill, &out_.prefill), {&native_.decode, &out_.decode}}) {
      for (const ChainRun& run : pass->runs) {
        for (std::int32_t k = run.begin; k < run.end; ++k) Note(program->kernels[k], run.gpu);
      }
    }
    Caches();
    const std::int64_t m = proposal_.micro_batches;
    for (std::size_t g = 0; g < gpus; ++g) {
      out_.kv.push_back(out_.kv_each[g] * m);
      const Bytes decode = out_.decode.crosses_bytes[g] * m;
      out_.activations.push_back(out_.prefill.crosses_bytes[g] * m + decode +
                                 std::max(out_.prefill.packed_bytes[g], out_.decode.packed_bytes[g]));
    }
    HostAndTokens();
    out_.slot_bytes.resize(gpus);
    Cut(native_.prefill, out_.prefill);
    Cut(native_.decode, out_.decode);
    for (std::size_t g = 0; g < gpus; ++g) out_.rings.push_back(out_.slot_bytes[g] * SlotsOf(g));
    return std::move(out_);
  }

 private:
  void Note(const NativeKernel& kernel, std::int16_t gpu) {
    for (const auto* operands : {&kernel.reads, &kernel.writes}) {
      for (const Operand& o : *operands) {
        if (o.source == Source::kWeight) AddWeight(o.id, gpu);
        if (o.source == Source::kKeys || o.source == Source::kValues) out_.layer_gpu[o.id] = gpu;
      }
    }
    for (const Operand& o : kernel.reads) {
      if (o.source == Source::kTokens) out_.ids_gpu = gpu;
    }
    for (const Operand& o : kernel.writes) {
      if (o.source == Source::kTokens) out_.choice_gpu = gpu;
    }
  }

  void AddWeight(TensorId id, std::int16_t gpu) {
    if (out_.weight_at[gpu][id] != kNowhere) return;
    const Bytes bytes = RoundUp(RowBytes(task_.model->tensors[id]) * rows_.resident_rows[id], kAlignment);
    out_.weight_at[gpu][id] = std::exchange(out_.weights[gpu], out_.weights[gpu] + bytes);
  }

  void Caches() {
    for (std::size_t l = 0; l < native_.prefill.caches.size(); ++l) {
      const LayerCache& cache = native_.prefill.caches[l];
      Bytes& end = out_.kv_each[out_.layer_gpu[l]];
      out_.keys_at.push_back(std::exchange(end, end + RoundUp(cache.keys, kAlignment)));
      out_.values_at.push_back(std::exchange(end, end + RoundUp(cache.values, kAlignment)));
    }
  }

  void HostAndTokens() {
    const Request& r = task_.request;
    const std::int64_t sequences = r.batch / proposal_.micro_batches, m = proposal_.micro_batches;
    const std::int64_t prompt = PromptIds(*task_.model, r.prompt_tokens);
    const Bytes ids((prompt + std::max<std::int64_t>(r.new_tokens, 1)) * sequences * kIdBytes);
    out_.tokens_each = RoundUp(ids, kAlignment);
    out_.tokens[out_.ids_gpu] = out_.tokens[out_.choice_gpu] = out_.tokens_each * m;
    out_.host_buffers = ids * m + Bytes(prompt * r.batch * kIdBytes);
    if (native_.prefill.input != kNoId) {
      out_.host_buffers += native_.prefill.activations[native_.prefill.input].bytes * m;
    }
    for (const TensorId t : native_.used) {
      if (task_.model->tensors[t].buffer) out_.host_buffers += task_.model->tensors[t].bytes();
    }
  }

  std::int32_t SlotsOf(std::size_t gpu) const { return gpu < proposal_.slots.size() ? proposal_.slots[gpu] : 0; }

  // Launches, and the pieces they consume: a GPU's go round its slots, from the first one in each pass.
  void Cut(const NativeProgram& program, ChainPass& pass) {
    pass.units = UnitsOf(program, {}, native_, *task_.model, rows_);
    pass.first_unit.assign(program.kernels.size() + 1, 0);
    for (const Unit& unit : pass.units.units) ++pass.first_unit[unit.kernel + 1];
    for (std::size_t k = 0; k < program.kernels.size(); ++k) pass.first_unit[k + 1] += pass.first_unit[k];
    std::vector<std::int32_t> next(static_cast<std::size_t>(out_.gpus));
    for (const StreamItem& item : pass.units.items) {
      const auto gpu = static_cast<std::size_t>(proposal_.gpu[item.tensor]);
      pass.item_slot.push_back(SlotsOf(gpu) == 0 ? 0 : next[gpu]++ % SlotsOf(gpu));
      out_.slot_bytes[gpu] = std::max(out_.slot_bytes[gpu], RoundUp(item.bytes, kAlignment));
    }
  }

  const NativeModel& native_;
  const PlanningTask& task_;
  const ChainProposal& proposal_;
  const NativeProposal& rows_;
  ChainLayout out_;
};

}  // namespace

Bytes ChainLayout::ActivationAt(bool is_decode, std::int16_t gpu, std::int32_t activation, std::int64_t m,
                                std::int64_t micro_batches) const {
  const ChainPass& pass = is_decode ? decode : prefill;
  const Bytes first = prefill.crosses_bytes[gpu] * micro_batches;
  if (const Bytes at = pass.crosses[gpu][activation]; at != kNowhere) {
    return (is_decode ? first : Bytes(0)) + pass.crosses_bytes[gpu] * m + at;
  }
  const Bytes at = pass.packed[gpu][activation];
  if (at == kNowhere) return kNowhere;
  return first + decode.crosses_bytes[gpu] * micro_batches + at;
}

ChainLayout LayOutChain(const NativeModel& native, const PlanningTask& task, const ChainProposal& proposal,
                        const NativeProposal& rows) {
  return LayoutMaker(native, task, proposal, rows).Run();
}

}  // namespace stowage

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/check.h"
#include "planner/base/text.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/native/describe.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/loop.h"
#include "planner/strategy/native/proposal.h"
#include "planner/strategy/native/ring.h"

namespace stowage {
namespace {

// Builds the schedule of one proposal: arenas, load, prefill, decode.
class Lowering {
 public:
  Lowering(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal,
           const NativeLayout& layout)
      : native_(native),
        task_(task),
        model_(*task.model),
        proposal_(proposal),
        layout_(layout),
        b_(fmt::format("{} {}", proposal.strategy, task.model->name)),
        prefill_units_(UnitsOf(native.prefill, model_, proposal)),
        decode_units_(UnitsOf(native.decode, model_, proposal)) {}

  Result<Schedule> Run() {
    AddMachine();
    AddArenas();
    EmitLoadPhase();
    STOWAGE_TRY(const PassLoop loop, MakeLoop());
    EmitPrefill(loop);
    if (task_.LoweredPasses() > 0) EmitDecode(loop);
    return std::move(b_).Take();
  }

 private:
  void AddMachine() {
    const Machine& m = *task_.machine;
    const auto budget = [&](std::string_view pool) { return m.pools[m.FindPool(pool)].budget - m.Reserved(pool); };
    gpu_ = b_.AddPool("gpu0", Allocator::kArena, budget("gpu0"));
    host_ = b_.AddPool("host", Allocator::kPageable, budget("host"));
    disk_ = b_.AddPool("disk", Allocator::kPageable, Bytes(0));
    const auto lane = [&](const char* queue, const char* resource) {
      return Lane{b_.AddQueue(queue), {b_.AddResource(resource)}};
    };
    compute_ = lane("gpu0/compute", "gpu0.sm");
    in_ = lane("gpu0/in", "gpu0.h2d");
    out_ = lane("gpu0/out", "gpu0.d2h");
    read_ = lane("disk0/0", "disk0");
    cpu_ = lane("cpu/0", "host.cores");
    b_.AddIssuer("main", IssuerKind::kNative);
    for (const std::string& file : model_.files) b_.AddFile(file);
    if (model_.files.empty()) b_.AddFile(model_.name + " (no checkpoint)");
  }

  BufferId Arena(std::int32_t pool, const char* name, BufferKind kind, Bytes bytes, bool pinned = false) {
    if (bytes == Bytes(0)) return -1;
    const BufferId id = b_.AddBuffer(pool, name, kind, bytes);
    b_.buffer(id).pinned = pinned;
    arenas_.push_back(id);
    return id;
  }

  void AddArenas() {
    weights_ = Arena(gpu_, "weights", BufferKind::kWeights, layout_.weights);
    const BufferId kv = Arena(gpu_, "kv", BufferKind::kKv, layout_.kv);
    const BufferId activations = Arena(gpu_, "activations", BufferKind::kActivations, layout_.activations);
    const BufferId tokens = Arena(gpu_, "tokens", BufferKind::kTokens, layout_.tokens);
    ring_ = Arena(gpu_, "ring", BufferKind::kStaging, proposal_.ring);
    masters_ = Arena(host_, "host_weights", BufferKind::kWeights, layout_.masters, true);
    AddWeightParts();
    for (std::int32_t l = 0; l < model_.shape.layers; ++l) {
      const Bytes side = native_.prefill.cache_bytes_per_layer;
      keys_.push_back(
          b_.AddPart(kv, fmt::format("layers.{}.keys", l), BufferKind::kKv, layout_.kv_side * (2 * l), side));
      values_.push_back(
          b_.AddPart(kv, fmt::format("layers.{}.values", l), BufferKind::kKv, layout_.kv_side * (2 * l + 1), side));
    }
    tokens_ = b_.AddPart(tokens, "token_ids", BufferKind::kTokens, Bytes(0), layout_.tokens);
    AddActivationParts(activations, native_.prefill, layout_.prefill, "prefill", prefill_parts_);
    AddActivationParts(activations, native_.decode, layout_.decode, "decode", decode_parts_);
    const std::int64_t row = 4 * task_.request.batch;
    prompt_ = b_.AddInitial(host_, "prompt", BufferKind::kTokens, Bytes(task_.request.prompt_tokens * row));
    tokens_out_ = b_.AddBuffer(host_, "tokens_out", BufferKind::kTokens, layout_.tokens);
    arenas_.push_back(tokens_out_);
    if (task_.request.all_logits) {
      logits_out_ = b_.AddBuffer(host_, "logits_out", BufferKind::kTokens,
                                 native_.prefill.activations[native_.prefill.logits].bytes);
      arenas_.push_back(logits_out_);
    }
    for (const BufferId id : {prompt_, tokens_out_}) b_.buffer(id).pinned = true;
    if (logits_out_ >= 0) b_.buffer(logits_out_).pinned = true;
  }

  void AddWeightParts() {
    resident_.assign(model_.tensors.size(), -1);
    master_.assign(model_.tensors.size(), -1);
    for (const TensorId t : native_.used) {
      const Tensor& tensor = model_.tensors[t];
      const std::int64_t rows = RowsOf(tensor);
      const std::int64_t resident = proposal_.resident_rows[t];
      if (resident > 0) {
        const std::string name = resident == rows ? tensor.name : fmt::format("{}[0:{}]", tensor.name, resident);
        resident_[t] =
            b_.AddPart(weights_, name, BufferKind::kWeights, layout_.weight_offset[t], RowBytes(tensor) * resident);
      }
      if (layout_.master_begin[t] < rows) {
        const Bytes bytes = RowBytes(tensor) * (rows - layout_.master_begin[t]);
        master_[t] = b_.AddPart(masters_, tensor.name + "@host", BufferKind::kWeights, layout_.master_offset[t], bytes);
      }
    }
  }

  void AddActivationParts(BufferId arena, const NativeProgram& program, const Packing& packing, const char* phase,
                          std::vector<BufferId>& parts) {
    for (std::size_t a = 0; a < program.activations.size(); ++a) {
      const Activation& activation = program.activations[a];
      parts.push_back(b_.AddPart(arena, fmt::format("{}/{}", phase, activation.name), BufferKind::kActivations,
                                 packing.offsets[a], activation.bytes));
    }
  }

  void EmitLoadPhase() {
    std::vector<LoadItem> items;
    std::vector<TensorId> computed;  // tables that are in no file
    for (const TensorId t : native_.used) {
      const Tensor& tensor = model_.tensors[t];
      if (tensor.buffer) {
        computed.push_back(t);
        continue;
      }
      const std::int64_t row_elements = Elements(tensor.shape) / RowsOf(tensor);
      if (resident_[t] >= 0) items.push_back({t, resident_[t], false, 0, proposal_.resident_rows[t] * row_elements});
      const std::int64_t begin = layout_.master_begin[t];
      if (master_[t] >= 0)
        items.push_back({t, master_[t], true, begin * row_elements, (RowsOf(tensor) - begin) * row_elements});
    }
    const bool sample = task_.last_decode_passes > 0;
    const StagingSize size = sample ? StagingSize{} : StagingFor(model_, items, StagingLimit());
    if (size.slots > 0) {
      staging_ = b_.AddBuffer(host_, "staging", BufferKind::kStaging, size.total());
      b_.buffer(staging_).pinned = true;
    }
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    for (const BufferId arena : arenas_) b_.Allocate(arena);
    if (sample) return;
    if (staging_ >= 0) b_.Allocate(staging_);
    StepId table_copied = -1;
    for (const TensorId t : computed) {
      const BufferId from =
          b_.AddInitial(host_, model_.tensors[t].name + "@host", BufferKind::kWeights, model_.tensors[t].bytes());
      b_.buffer(from).pinned = true;
      table_copied = b_.Copy(in_, b_.Whole(from), b_.Whole(resident_[t]));
    }
    EmitLoad(b_, model_, items, {read_, cpu_, in_}, disk_, staging_, size);
    if (table_copied >= 0) b_.Wait({table_copied});
    if (staging_ >= 0) b_.Free(staging_);
  }

  // What the host's budget leaves for staging beside the masters and the small buffers.
  Bytes StagingLimit() const {
    Bytes used = layout_.masters + layout_.tokens * 2;
    if (logits_out_ >= 0) used += b_.so_far().buffers[logits_out_].bytes.at(0);
    return b_.so_far().pools[host_].budget - used;
  }

  Result<PassLoop> MakeLoop() {
    RingOffsets offsets;
    if (!decode_units_.items.empty() || !prefill_units_.items.empty()) {
      offsets = PlaceInRing(prefill_units_.items, proposal_.ring);
    } else {
      offsets.decode.resize(1);
    }
    AddRingParts(offsets);
    return FindLoop(prefill_units_, decode_units_, offsets, proposal_.ring, task_.LoweredPasses());
  }

  void AddRingParts(const RingOffsets& offsets) {
    const auto add = [&](const std::vector<StreamItem>& items, const std::vector<Bytes>& at,
                         const std::string& suffix) {
      std::vector<BufferId> parts;
      for (std::size_t i = 0; i < items.size(); ++i) {
        const Tensor& t = model_.tensors[items[i].tensor];
        const std::string rows = fmt::format("[{}:{}]", items[i].row_begin, items[i].row_end);
        const std::string name = t.name + (items[i].row_end - items[i].row_begin == RowsOf(t) ? "" : rows) + suffix;
        parts.push_back(b_.AddPart(ring_, name, BufferKind::kStaging, at[i], items[i].bytes));
      }
      ring_parts_.push_back(std::move(parts));
    };
    add(prefill_units_.items, offsets.prefill, "@ring/prefill");
    for (std::int32_t p = 0; p < offsets.period; ++p) {
      if (task_.LoweredPasses() > 0) add(decode_units_.items, offsets.decode[p], fmt::format("@ring/{}", p));
    }
  }

  std::vector<RequiredOp> Required(const NativeProgram& program, const PassUnits& units) const {
    std::vector<RequiredOp> out;
    for (std::size_t k = 0; k < program.kernels.size(); ++k)
      out.push_back({.name = program.kernels[k].kernel.name, .tiles = units.tiles[k]});
    return out;
  }

  void EmitPrefill(const PassLoop& loop) {
    b_.BeginPhase("prefill", Required(native_.prefill, prefill_units_));
    b_.BeginPrologue(1);
    const std::int64_t bytes = b_.so_far().buffers[prompt_].bytes.base;
    const StepId prompt = b_.Copy(in_, b_.Whole(prompt_), {tokens_, AffineBytes(0), AffineBytes(bytes)});
    step_of_.assign(loop.steps.size(), -1);
    EmitSection(loop, loop.prefill, native_.prefill, 0, 0, prompt);
    if (logits_out_ >= 0) {
      const BufferId logits = prefill_parts_[native_.prefill.logits];
      b_.Wait({b_.Copy(out_, b_.Whole(logits), b_.Whole(logits_out_), {{last_launch_}})});
    }
    if (task_.LoweredPasses() == 0) FetchTokens();
  }

  void EmitDecode(const PassLoop& loop) {
    b_.BeginPhase("decode", Required(native_.decode, decode_units_));
    const std::int64_t first = task_.FirstPass();
    if (loop.prologue.end > loop.prologue.begin) {
      b_.BeginPrologue(loop.prologue_passes);
      EmitSection(loop, loop.prologue, native_.decode, first, 0, -1);
    }
    if (loop.iterations > 0) {
      b_.BeginBody(loop.iterations, loop.period);
      EmitSection(loop, loop.body, native_.decode, first + loop.prologue_passes, loop.period, -1);
      AddSteadyReferences(loop);
    }
    b_.BeginEpilogue(loop.epilogue_passes);
    const std::int64_t done = loop.prologue_passes + loop.iterations * loop.period;
    EmitSection(loop, loop.epilogue, native_.decode, first + done, 0, -1);
    FetchTokens();
  }

  void FetchTokens() { b_.Wait({b_.Copy(out_, b_.Whole(tokens_), b_.Whole(tokens_out_), {{last_launch_}})}); }

  // Emits the loop's steps [range) as steps of the open section. `first` is the decode pass of the section's first
  // pass, `stride` the passes an iteration advances (0 outside the body).
  void EmitSection(const PassLoop& loop, const PassLoop::Range& range, const NativeProgram& program, std::int64_t first,
                   std::int64_t stride, StepId before) {
    const bool prefill = &program == &native_.prefill;
    const std::int32_t first_pass = loop.steps.empty() ? 0 : range.first_pass;
    std::vector<NativeProgram> passes;
    for (std::int32_t p = 0; p < range.passes; ++p)
      passes.push_back(prefill ? program : AtPasses(program, first + p, stride));
    for (std::int32_t s = range.begin; s < range.end; ++s) {
      const RingStep& ring_step = loop.steps[s];
      std::vector<StepRef> after;
      for (const std::int32_t r : ring_step.after) {
        if (step_of_[r] >= 0) after.push_back({step_of_[r]});
      }
      if (ring_step.copy) {
        step_of_[s] = EmitCopy(ring_step, std::move(after));
        continue;
      }
      if (before >= 0) after.push_back({std::exchange(before, -1)});
      const std::int32_t pass = ring_step.pass - first_pass;
      const PassUnits& units = prefill ? prefill_units_ : decode_units_;
      step_of_[s] = EmitLaunch(passes[pass], units.units[ring_step.index], pass, RingPass(ring_step.pass), prefill,
                               std::move(after));
      last_launch_ = step_of_[s];
    }
  }

  // Which of ring_parts_ a pass uses: 0 the prefill's, then one for each pass of a group.
  std::int32_t RingPass(std::int32_t pass) const {
    return pass == 0 ? 0 : 1 + (pass - 1) % static_cast<std::int32_t>(ring_parts_.size() - 1);
  }

  StepId EmitCopy(const RingStep& step, std::vector<StepRef> after) {
    const std::vector<StreamItem>& items = step.pass == 0 ? prefill_units_.items : decode_units_.items;
    const StreamItem& item = items[step.index];
    const std::int64_t skipped = item.row_begin - layout_.master_begin[item.tensor];
    const Slice from = {master_[item.tensor], AffineBytes(RowBytes(model_.tensors[item.tensor]) * skipped),
                        AffineBytes(item.bytes)};
    return b_.Copy(in_, from, b_.Whole(ring_parts_[RingPass(step.pass)][step.index]), std::move(after));
  }

  StepId EmitLaunch(const NativeProgram& program, const Unit& unit, std::int32_t pass, std::int32_t ring_pass,
                    bool prefill, std::vector<StepRef> after) {
    const NativeKernel& whole = program.kernels[unit.kernel];
    const bool tiled = whole.kernel.kind == KernelKind::kLinear && unit.row_end - unit.row_begin < whole.kernel.n;
    NativeKernel kernel = tiled ? RowTile(whole, unit.row_begin, unit.row_end) : whole;
    const std::vector<BufferId>& parts = prefill ? prefill_parts_ : decode_parts_;
    std::vector<Slice> reads, writes;
    for (std::size_t i = 0; i < kernel.reads.size(); ++i) {
      const bool streamed = unit.item >= 0 && i == 1;
      reads.push_back(streamed ? b_.Whole(ring_parts_[ring_pass][unit.item]) : SliceOf(kernel.reads[i], parts));
      // A table that is not wholly resident is gathered from its master, over the link.
      if (kernel.kernel.kind == KernelKind::kEmbedding && i == 1 && master_[kernel.reads[i].id] >= 0) {
        reads.back().buffer = master_[kernel.reads[i].id];
        kernel.kernel.host_bytes = AffineBytes(SizeOf(kernel.kernel.dtype, kernel.kernel.rows * kernel.kernel.n));
      }
    }
    for (const Operand& o : kernel.writes) writes.push_back(SliceOf(o, parts));
    const Instance instance{.op = unit.kernel, .pass = pass, .tile = unit.tile};
    return b_.Compute(compute_, b_.AddKernel(kernel.kernel), std::move(reads), std::move(writes), instance,
                      std::move(after));
  }

  Slice SliceOf(const Operand& o, const std::vector<BufferId>& parts) const {
    switch (o.source) {
      case Operand::Source::kActivation:
        return {parts[o.id], o.offset, o.bytes};
      case Operand::Source::kWeight:
        return {resident_[o.id], o.offset, o.bytes};
      case Operand::Source::kKeys:
        return {keys_[o.id], o.offset, o.bytes};
      case Operand::Source::kValues:
        return {values_[o.id], o.offset, o.bytes};
      case Operand::Source::kTokens:
        return {tokens_, o.offset, o.bytes};
    }
    return {};
  }

  // The body was emitted as its first iteration; add what a later iteration waits for in the one before it.
  void AddSteadyReferences(const PassLoop& loop) {
    const std::int32_t length = loop.body.end - loop.body.begin;
    for (std::int32_t s = 0; s < length; ++s) {
      const RingStep& steady = loop.steps[loop.body.end + s];
      Step& step = b_.step(step_of_[loop.body.begin + s]);
      step_of_[loop.body.end + s] = step_of_[loop.body.begin + s];
      for (const std::int32_t r : steady.after) {
        if (r >= loop.body.end) continue;  // within the iteration: already there
        const StepRef ref{step_of_[r], 1};
        if (std::find(step.after.begin(), step.after.end(), ref) == step.after.end()) step.after.push_back(ref);
      }
    }
  }

  const NativeModel& native_;
  const PlanningTask& task_;
  const Model& model_;
  const NativeProposal& proposal_;
  const NativeLayout& layout_;
  ScheduleBuilder b_;
  const PassUnits prefill_units_;
  const PassUnits decode_units_;
  std::int32_t gpu_ = -1, host_ = -1, disk_ = -1;
  Lane compute_, in_, out_, read_, cpu_;
  std::vector<BufferId> arenas_;
  BufferId weights_ = -1, ring_ = -1, masters_ = -1, staging_ = -1, tokens_ = -1;
  BufferId prompt_ = -1, tokens_out_ = -1, logits_out_ = -1;
  std::vector<BufferId> resident_, master_, keys_, values_, prefill_parts_, decode_parts_;
  std::vector<std::vector<BufferId>> ring_parts_;
  std::vector<StepId> step_of_;  // by index into PassLoop::steps
  StepId last_launch_ = -1;
};

Status CheckProposal(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal,
                     const NativeLayout& layout) {
  const Machine& m = *task.machine;
  for (const TensorId t : native.used) {
    const Tensor& tensor = task.model->tensors[t];
    const std::int64_t rows = RowsOf(tensor), resident = proposal.resident_rows[t];
    const bool may_leave = native.multiplied[t] || native.gathered[t];
    if (resident < 0 || resident > rows || (resident < rows && !may_leave)) {
      return Error{ErrorCode::kInternal,
                   fmt::format("tensor '{}' cannot have {} of its {} rows resident", tensor.name, resident, rows)};
    }
  }
  const auto fits = [&](const char* pool, Bytes need, const std::string& what) -> Status {
    const Bytes budget = m.pools[m.FindPool(pool)].budget;
    need += m.Reserved(pool);
    if (need <= budget) return OkStatus();
    return Error{ErrorCode::kInfeasible, fmt::format("{} needs {} of {}, whose budget is {}", what, FormatBytes(need),
                                                     pool, FormatBytes(budget))};
  };
  const Bytes gpu = layout.weights + layout.kv + layout.activations + layout.tokens + proposal.ring;
  STOWAGE_RETURN_IF_ERROR(fits("gpu0", gpu, proposal.strategy));
  const Bytes host = layout.masters + layout.tokens * 2 + kAlignment * 2;
  return fits("host", host, fmt::format("{}: the weights kept in host memory", proposal.strategy));
}

}  // namespace

Result<Lowered> LowerNative(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal) {
  const NativeLayout layout = LayOut(native, task, proposal);
  STOWAGE_RETURN_IF_ERROR(CheckProposal(native, task, proposal, layout));
  STOWAGE_TRY(Schedule schedule, Lowering(native, task, proposal, layout).Run());
  return Lowered{DescribePlan(native, task, proposal, layout, schedule), std::move(schedule)};
}

}  // namespace stowage

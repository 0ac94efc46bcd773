// The schedule of a chain: arenas, load, prefill, decode; and whether it fits.
#include "planner/strategy/native/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/base/text.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/native/chain_buffers.h"
#include "planner/strategy/native/chain_describe.h"
#include "planner/strategy/native/chain_layout.h"
#include "planner/strategy/native/chain_ring.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/unit_kernels.h"

namespace stowage {
namespace {

class ChainLowering {
 public:
  explicit ChainLowering(const ChainCase& c)
      : c_(c),
        m_(c.proposal.micro_batches),
        b_(fmt::format("{} {}", c.proposal.strategy, c.model().name)),
        buffers_(AddChainBuffers(b_, c)),
        rings_(&b_, &c_, &buffers_),
        kernels_(&c.model(), &c.rows, &c.whole) {}

  Schedule Run() {
    EmitLoadPhase();
    b_.BeginPhase("prefill", Required(c_.native.prefill, c_.layout.prefill));
    b_.BeginPrologue(1);
    CopyPrompts();
    EmitPass(false, {0, 0});
    if (const std::int64_t passes = c_.task.LoweredPasses(); passes > 0) {
      b_.BeginPhase("decode", Required(c_.native.decode, c_.layout.decode));
      b_.BeginBody(passes, 1);
      rings_.BeginBody();
      EmitPass(true, {c_.task.FirstPass(), 1});
      // What the first iteration takes from the prefill, the others take from the one before.
      for (std::int64_t m = 0; m < m_; ++m) {
        if (readers_[m] >= 0 && given_[m].step >= 0) b_.step(readers_[m]).after.push_back({given_[m].step, 1});
      }
      rings_.EndBody();
      b_.BeginEpilogue(0);
    }
    FetchTokens();
    return std::move(b_).Take();
  }

 private:
  struct Passes {
    std::int64_t first = 0, stride = 0;
  };
  void EmitLoadPhase() {
    const std::vector<LoadItem> items = LoadItemsOf(c_.native, c_.rows, c_.whole);
    const Bytes budget = b_.so_far().pools[buffers_.host].budget;
    const StagingSize size = StagingFor(c_.model(), items, budget - c_.whole.masters - c_.layout.host_buffers);
    BufferId staging = -1;
    if (size.slots > 0) {
      staging = b_.AddBuffer(buffers_.host, "staging", BufferKind::kStaging, size.total());
      b_.buffer(staging).pinned = true;
    }
    b_.BeginPhase("load", {});
    b_.BeginPrologue(0);
    for (const BufferId arena : buffers_.arenas) b_.Allocate(arena);
    if (staging >= 0) b_.Allocate(staging);
    if (c_.task.last_decode_passes == 0) {
      std::vector<StepId> tables;
      for (const auto& [tensor, from] : buffers_.computed) {
        for (const ChainGpu& gpu : buffers_.gpus) {
          if (gpu.weights[tensor] < 0) continue;
          tables.push_back(b_.Copy(gpu.in, b_.Whole(from), b_.Whole(gpu.weights[tensor])));
        }
      }
      std::vector<Lane> in;
      for (const ChainGpu& gpu : buffers_.gpus) in.push_back(gpu.in);
      EmitLoad(b_, c_.model(), items, {buffers_.device, buffers_.master, &c_.proposal.gpu},
               {buffers_.read, buffers_.convert, in}, buffers_.disk, staging, size);
      CopyShared(tables);
      for (const StepId copied : tables) b_.Wait({copied});
    }
    if (staging >= 0) b_.Free(staging);
  }

  // What blocks on several GPUs read, from the one it was loaded to.
  void CopyShared(std::vector<StepId>& copies) {
    for (const TensorId t : c_.native.used) {
      if (!c_.native.shared[t]) continue;
      const ChainGpu& home = buffers_.gpus[c_.proposal.gpu[t]];
      for (std::size_t g = 0; g < buffers_.gpus.size(); ++g) {
        const BufferId to = buffers_.gpus[g].weights[t];
        if (to < 0 || to == home.weights[t]) continue;
        copies.push_back(b_.Copy(home.peer[g], b_.Whole(home.weights[t]), b_.Whole(to)));
      }
    }
  }

  std::vector<RequiredOp> Required(const NativeProgram& program, const ChainPass& pass) const {
    std::vector<RequiredOp> out;
    for (std::size_t k = 0; k < program.kernels.size(); ++k) {
      out.push_back({.name = program.kernels[k].kernel.name,
                     .micro_batches = static_cast<std::int16_t>(m_),
                     .tiles = pass.units.tiles[k]});
    }
    return out;
  }

  void CopyPrompts() {
    const ChainGpu& gpu = buffers_.gpus[c_.layout.ids_gpu];
    for (std::int64_t m = 0; m < m_; ++m) {
      const AffineBytes bytes = b_.so_far().buffers[buffers_.prompts[m]].bytes;
      given_.push_back({b_.Copy(gpu.in, b_.Whole(buffers_.prompts[m]), {gpu.tokens[m], AffineBytes(0), bytes})});
    }
  }

  // Run r of micro-batch m is written in wave r + m: the order in which they can start.
  void EmitPass(bool decode, Passes at) {
    const ChainPass& pass = decode ? c_.layout.decode : c_.layout.prefill;
    const NativeProgram& program = decode ? c_.native.decode : c_.native.prefill;
    const auto runs = static_cast<std::int64_t>(pass.runs.size());
    step_of_.assign(m_, std::vector<StepId>(program.kernels.size(), -1));
    launches_.clear();
    for (const Unit& unit : pass.units.units)
      launches_.emplace_back(kernels_.Of(program.kernels[unit.kernel], unit), -1);
    readers_.assign(m_, -1);
    last_on_.assign(buffers_.gpus.size(), -1);
    for (std::int64_t wave = 0; wave < runs + m_ - 1; ++wave) {
      for (std::int64_t r = std::max<std::int64_t>(0, wave - m_ + 1); r <= std::min(wave, runs - 1); ++r) {
        EmitRun(pass.runs[r], pass, program, decode, wave - r, at);
      }
    }
  }

  void EmitRun(const ChainRun& run, const ChainPass& pass, const NativeProgram& program, bool decode, std::int64_t m,
               Passes at) {
    std::vector<StepRef> after;
    for (const ChainTransfer& t : run.arrives) {
      const Slice from = b_.Whole(Parts(t.from, decode, m)[t.activation]);
      const Slice to = b_.Whole(Parts(run.gpu, decode, m)[t.activation]);
      after.push_back({b_.Copy(buffers_.gpus[t.from].peer[run.gpu], from, to, {{step_of_[m][t.writer]}})});
    }
    for (std::int32_t u = pass.first_unit[run.begin]; u < pass.first_unit[run.end]; ++u) {
      const Unit& unit = pass.units.units[u];
      const NativeKernel& kernel = program.kernels[unit.kernel];
      if (ReadsTokens(kernel)) after.push_back(given_[m]);
      if (!decode && unit.tile == 0 && ReadsInput(kernel)) after.push_back({GiveInput(run.gpu, m)});
      if (unit.item >= 0) after.push_back({rings_.Bring(decode, unit.item)});
      const StepId step = Launch(u, unit, run.gpu, decode, m, at, std::exchange(after, {}));
      if (unit.item >= 0) rings_.WasRead(decode, unit.item, step);
      if (ReadsTokens(kernel)) readers_[m] = step;
      step_of_[m][unit.kernel] = step;  // its last unit's in the end: one queue runs them in order
      if (Operand slice = TokensWritten(kernel); slice.id != kNoId) given_[m] = {HandOn(slice, run.gpu, m, at, step)};
    }
  }

  const std::vector<BufferId>& Parts(std::int16_t gpu, bool decode, std::int64_t m) const {
    return (decode ? buffers_.gpus[gpu].decode : buffers_.gpus[gpu].prefill)[m];
  }

  static bool ReadsTokens(const NativeKernel& kernel) {
    return std::any_of(kernel.reads.begin(), kernel.reads.end(),
                       [](const Operand& o) { return o.source == Operand::Source::kTokens; });
  }
  bool ReadsInput(const NativeKernel& kernel) const {
    const std::int32_t input = c_.native.prefill.input;
    return input != kNoId && std::any_of(kernel.reads.begin(), kernel.reads.end(), [&](const Operand& o) {
             return o.source == Operand::Source::kActivation && o.id == input;
           });
  }
  // Its place may be another micro-batch's until the launch before this one.
  StepId GiveInput(std::int16_t gpu, std::int64_t m) {
    std::vector<StepRef> after;
    if (last_on_[gpu] >= 0) after.push_back({last_on_[gpu]});
    const BufferId to = Parts(gpu, false, m)[c_.native.prefill.input];
    return b_.Copy(buffers_.gpus[gpu].in, b_.Whole(buffers_.inputs[m]), b_.Whole(to), std::move(after));
  }
  static Operand TokensWritten(const NativeKernel& kernel) {
    for (Operand o : kernel.writes) {
      if (o.source != Operand::Source::kTokens) continue;
      o.id = 0;
      return o;
    }
    return {};
  }

  // The step after which the tokens are where they are embedded.
  StepId HandOn(const Operand& tokens, std::int16_t gpu, std::int64_t m, Passes at, StepId chosen) {
    const std::int16_t home = c_.layout.ids_gpu;
    if (gpu == home) return chosen;
    const Operand slice = AtPasses(tokens, at.first, at.stride);
    return b_.Copy(buffers_.gpus[gpu].peer[home], {buffers_.gpus[gpu].tokens[m], slice.offset, slice.bytes},
                   {buffers_.gpus[home].tokens[m], slice.offset, slice.bytes}, {{chosen}});
  }

  StepId Launch(std::int32_t index, const Unit& unit, std::int16_t gpu, bool decode, std::int64_t m, Passes at,
                std::vector<StepRef> after) {
    auto& [kernel, id] = launches_[index];
    const auto slice_of = [&](const Operand& o) { return SliceOf(AtPasses(o, at.first, at.stride), gpu, decode, m); };
    const BufferId piece = unit.item < 0 ? -1 : (decode ? buffers_.decode_pieces : buffers_.prefill_pieces)[unit.item];
    std::vector<Slice> writes;
    for (const Operand& o : kernel->writes) writes.push_back(slice_of(o));
    if (id < 0) id = b_.AddKernel(AtPasses(kernel->kernel, at.first, at.stride));
    const Instance instance{.op = unit.kernel, .micro_batch = static_cast<std::int16_t>(m), .tile = unit.tile};
    return last_on_[gpu] =
               b_.Compute(buffers_.gpus[gpu].compute, id,
                          ReadsOf(b_, *kernel, unit, {buffers_.gpus[gpu].weights, buffers_.master, piece}, slice_of),
                          std::move(writes), instance, std::move(after));
  }

  Slice SliceOf(const Operand& o, std::int16_t gpu, bool decode, std::int64_t m) const {
    switch (o.source) {
      case Operand::Source::kActivation:
        return {Parts(gpu, decode, m)[o.id], o.offset, o.bytes};
      case Operand::Source::kWeight:
        return {buffers_.gpus[gpu].weights[o.id], o.offset, o.bytes};
      case Operand::Source::kKeys:
        return {buffers_.keys[m][o.id], o.offset, o.bytes};
      case Operand::Source::kValues:
        return {buffers_.values[m][o.id], o.offset, o.bytes};
      case Operand::Source::kTokens:
        return {buffers_.gpus[gpu].tokens[m], o.offset, o.bytes};
    }
    return {};
  }

  void FetchTokens() {
    const ChainGpu& gpu = buffers_.gpus[c_.layout.ids_gpu];
    StepId copied = -1;
    for (std::int64_t m = 0; m < m_; ++m) {
      copied = b_.Copy(gpu.out, b_.Whole(gpu.tokens[m]), b_.Whole(buffers_.answers[m]), {given_[m]});
    }
    b_.Wait({copied});
  }

  const ChainCase& c_;
  const std::int64_t m_;
  ScheduleBuilder b_;
  const ChainBuffers buffers_;
  ChainRings rings_;
  UnitKernels kernels_;
  std::vector<StepRef> given_;                // by micro-batch: after which its next tokens may be embedded
  std::vector<StepId> readers_;               // by micro-batch: that embeds them
  std::vector<StepId> last_on_;               // by GPU: the last launch of the pass being written
  std::vector<std::vector<StepId>> step_of_;  // [micro-batch][kernel], of the pass being written
  std::vector<std::pair<const NativeKernel*, std::int32_t>> launches_;  // by unit: and its index in the schedule, or -1
};

// ---- whether it fits

Status CheckRequest(const PlanningTask& task, const ChainProposal& proposal) {
  const auto bad = [&](std::string why) {
    return Error{ErrorCode::kInvalidInput, proposal.strategy + ": " + std::move(why)};
  };
  const std::int64_t m = proposal.micro_batches, batch = task.request.batch;
  if (m < 1 || m > batch || batch % m != 0) {
    return bad(fmt::format("a batch of {} cannot be cut into {} equal micro-batches", batch, m));
  }
  if (m > 1 && !proposal.slots.empty()) return bad("micro-batches would stream the weights once each");
  if (task.request.all_logits) return bad("the logits of all positions are not kept over several GPUs yet");
  return OkStatus();
}

NativeProposal RowsOfChain(const Model& model, const ChainProposal& proposal) {
  NativeProposal out{.strategy = proposal.strategy, .resident_rows = proposal.resident_rows, .tile = proposal.tile};
  if (!out.resident_rows.empty()) return out;
  for (const Tensor& t : model.tensors) out.resident_rows.push_back(RowsOf(t));
  return out;
}

ChainLayout WithoutRings(const NativeModel& native, const PlanningTask& task, ChainProposal proposal) {
  proposal.slots.clear();
  return LayOutChain(native, task, proposal, RowsOfChain(*task.model, proposal));
}

}  // namespace

std::vector<Bytes> LeftByGpu(const NativeModel& native, const PlanningTask& task, const ChainProposal& proposal) {
  const ChainLayout l = WithoutRings(native, task, proposal);
  const Machine& machine = *task.machine;
  std::vector<Bytes> left;
  for (std::size_t g = 0; g < l.weights.size(); ++g) {
    const std::string pool = fmt::format("gpu{}", g);
    left.push_back(machine.pools[machine.FindPool(pool)].budget - machine.Reserved(pool) - l.weights[g] - l.kv[g] -
                   l.activations[g] - l.tokens[g]);
  }
  return left;
}

void GiveSlots(const NativeModel& native, const PlanningTask& task, const std::vector<Bytes>& ring,
               ChainProposal& proposal) {
  const ChainLayout layout = WithoutRings(native, task, proposal);
  std::vector<std::int64_t> pieces(layout.weights.size());  // of the phase with more
  for (const ChainPass* pass : {&layout.prefill, &layout.decode}) {
    std::vector<std::int64_t> here(pieces.size());
    for (const StreamItem& item : pass->units.items) ++here[proposal.gpu[item.tensor]];
    for (std::size_t g = 0; g < pieces.size(); ++g) pieces[g] = std::max(pieces[g], here[g]);
  }
  proposal.slots.assign(pieces.size(), 0);
  for (std::size_t g = 0; g < pieces.size(); ++g) {
    if (pieces[g] == 0) continue;
    const std::int64_t held = ring[g].value() / layout.slot_bytes[g].value();
    proposal.slots[g] = static_cast<std::int32_t>(std::max<std::int64_t>(2, std::min(held, pieces[g])));
  }
}

Status CheckBudgets(const ChainCase& c) {
  const Machine& machine = *c.task.machine;
  const auto check = [&](const std::string& pool, Bytes need) -> Status {
    const Bytes all = need + machine.Reserved(pool);
    const Bytes budget = machine.pools[machine.FindPool(pool)].budget;
    if (all <= budget) return OkStatus();
    return Error{ErrorCode::kInfeasible, fmt::format("{} needs {} of {}, whose budget is {}", c.proposal.strategy,
                                                     FormatBytes(all), pool, FormatBytes(budget))};
  };
  for (std::size_t g = 0; g < c.gpus(); ++g) {
    const ChainLayout& l = c.layout;
    STOWAGE_RETURN_IF_ERROR(
        check(fmt::format("gpu{}", g), l.weights[g] + l.kv[g] + l.activations[g] + l.tokens[g] + l.rings[g]));
  }
  const std::vector<LoadItem> items = LoadItemsOf(c.native, c.rows, c.whole);
  return check("host", c.whole.masters + c.layout.host_buffers + StagingFor(c.model(), items, Bytes(0)).total());
}

Result<PreparedChain> PrepareChain(const PlanningTask& task, const ChainProposal& proposal) {
  STOWAGE_RETURN_IF_ERROR(CheckRequest(task, proposal));
  PlanningTask part = task;
  part.request.batch = task.request.batch / proposal.micro_batches;
  TaskCache own;
  if (proposal.micro_batches > 1) part.cache = &own;
  PreparedChain out;
  STOWAGE_TRY(out.native, RealizeModel(part));
  if (out.native->prefill.logits == kNoId) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: {} makes no tokens", proposal.strategy, task.model->class_name)};
  }
  out.rows = RowsOfChain(*task.model, proposal);
  out.layout = LayOutChain(*out.native, task, proposal, out.rows);
  out.whole = LayOut(*out.native, task, out.rows);
  return out;
}

Status CheckChain(const PlanningTask& task, const ChainProposal& proposal) {
  STOWAGE_TRY(const PreparedChain prepared, PrepareChain(task, proposal));
  return CheckBudgets(prepared.Of(task, proposal));
}

Result<Lowered> LowerChain(const PlanningTask& task, const ChainProposal& proposal) {
  STOWAGE_TRY(const PreparedChain prepared, PrepareChain(task, proposal));
  const ChainCase c = prepared.Of(task, proposal);
  STOWAGE_RETURN_IF_ERROR(CheckBudgets(c));
  Schedule schedule = ChainLowering(c).Run();
  Plan plan = DescribeChain(c, schedule);
  return Lowered{std::move(plan), std::move(schedule)};
}

}  // namespace stowage

#include "planner/strategy/native/passes.h"

#include <algorithm>

namespace stowage {

PassEmitter::PassEmitter(ScheduleBuilder* b, const NativeCase* c, const NativeBuffers* buffers,
                         const NativeLanes* lanes, const PassUnits* prefill, const PassUnits* decode, DiskFeed* disk)
    : b_(*b), c_(*c), buffers_(*buffers), lanes_(*lanes), kernels_(&c->model(), &c->proposal, &c->layout), disk_(disk) {
  prefill_ = {
      &c->native.prefill,          prefill, &buffers->prefill, &buffers->host_prefill, &c->proposal.prefill_on_host,
      &c->layout.prefill_crossings};
  decode_ = {&c->native.decode,          decode, &buffers->decode, &buffers->host_decode, &c->proposal.decode_on_host,
             &c->layout.decode_crossings};
  MakeLaunches(prefill_);
  MakeLaunches(decode_);
}

void PassEmitter::Run(const PassLoop& loop) {
  EmitPrefill(loop);
  if (c_.task.LoweredPasses() > 0) EmitDecode(loop);
}

void PassEmitter::MakeLaunches(Side& side) {
  for (const Unit& unit : side.units->units) {
    const NativeKernel& whole = side.program->kernels[unit.kernel];
    side.launches.push_back({side.OnHost(unit.kernel) ? &whole : kernels_.Of(whole, unit)});
  }
}

std::vector<RequiredOp> PassEmitter::Required(const Side& side) const {
  std::vector<RequiredOp> out;
  for (std::size_t k = 0; k < side.program->kernels.size(); ++k) {
    out.push_back({.name = side.program->kernels[k].kernel.name, .tiles = side.units->tiles[k]});
  }
  return out;
}

void PassEmitter::EmitPrefill(const PassLoop& loop) {
  const StepId loaded = b_.next() - 1;
  b_.BeginPhase("prefill", Required(prefill_));
  b_.BeginPrologue(1);
  if (disk_ != nullptr) disk_->Start(loaded);
  StepId given = GiveTokens();
  if (buffers_.input >= 0) {
    if (given >= 0) b_.Wait({given});
    given = GiveInput();
  }
  step_of_.assign(loop.steps.size(), -1);
  waits_at_.assign(loop.steps.size(), -1);
  EmitSection(loop, loop.prefill, prefill_, {}, given);
  if (buffers_.logits_out >= 0) {
    const auto [logits, lane] = Written(c_.native.prefill.logits, prefill_);
    b_.Wait({b_.Copy(*lane, b_.Whole(logits), b_.Whole(buffers_.logits_out), {{last_launch_}})});
  }
  if (buffers_.output >= 0) {
    FetchOutput();
  } else if (c_.task.LoweredPasses() == 0) {
    FetchTokens();
  }
}

void PassEmitter::EmitDecode(const PassLoop& loop) {
  b_.BeginPhase("decode", Required(decode_));
  const std::int64_t first = c_.task.FirstPass();
  if (loop.prologue.end > loop.prologue.begin) {
    b_.BeginPrologue(loop.prologue_passes);
    EmitSection(loop, loop.prologue, decode_, {first}, -1);
  }
  if (loop.iterations > 0) {
    b_.BeginBody(loop.iterations, loop.period);
    if (disk_ != nullptr) disk_->BeginBody();
    EmitSection(loop, loop.body, decode_, {first + loop.prologue_passes, loop.period}, -1);
    AddSteadyReferences(loop);
    if (disk_ != nullptr) disk_->EndBody();
  }
  b_.BeginEpilogue(loop.epilogue_passes);
  EmitSection(loop, loop.epilogue, decode_, {first + loop.prologue_passes + loop.iterations * loop.period}, -1);
  FetchTokens();
}

void PassEmitter::FetchTokens() {
  if (c_.layout.ids_on_host) {  // each pass brought its own
    if (last_on_host_) b_.Wait({last_launch_});
    return;
  }
  b_.Wait({b_.Copy(lanes_.out, b_.Whole(buffers_.tokens), b_.Whole(buffers_.tokens_out), {{last_launch_}})});
}

void PassEmitter::FetchOutput() {
  const Operand& out = prefill_.program->output;
  const auto [activation, lane] = Written(out.id, prefill_);
  b_.Wait({b_.Copy(*lane, {activation, out.offset, out.bytes}, b_.Whole(buffers_.output), {{last_launch_}})});
}

std::pair<BufferId, const Lane*> PassEmitter::Written(std::int32_t activation, const Side& side) const {
  bool on_host = false;
  for (std::size_t k = 0; k < side.program->kernels.size(); ++k) {
    for (const Operand& o : side.program->kernels[k].writes) {
      if (o.source == Operand::Source::kActivation && o.id == activation)
        on_host = side.OnHost(static_cast<std::int32_t>(k));
    }
  }
  return on_host ? std::pair(side.host_activations->at(activation), &lanes_.cpu)
                 : std::pair(side.activations->at(activation), &lanes_.out);
}

void PassEmitter::EmitSection(const PassLoop& loop, const PassLoop::Range& range, Side& side, Passes passes,
                              StepId before) {
  for (std::int32_t s = range.begin; s < range.end; ++s) {
    const RingStep& ring_step = loop.steps[s];
    std::vector<StepRef> after;
    for (const std::int32_t r : ring_step.after) {
      if (step_of_[r] >= 0) after.push_back({step_of_[r]});
    }
    if (ring_step.copy) {
      EmitCopy(s, ring_step, std::move(after));
      continue;
    }
    if (before >= 0) after.push_back({std::exchange(before, -1)});
    const std::int32_t pass = ring_step.pass - range.first_pass;
    const Passes at{passes.first + pass, passes.stride};
    const Unit& unit = side.units->units[ring_step.index];
    if (unit.tile == 0) EnterKernel(unit.kernel, side, at, after);
    step_of_[s] = waits_at_[s] = EmitLaunch(ring_step, pass, side, at, std::move(after));
    last_launch_ = step_of_[s];
    last_on_host_ = side.OnHost(unit.kernel);
    if (unit.tile + 1 == side.units->tiles[unit.kernel]) LeaveKernel(unit.kernel, side, at);
  }
}

void PassEmitter::EmitCopy(std::int32_t s, const RingStep& step, std::vector<StepRef> after) {
  const StreamItem& item = (step.pass == 0 ? prefill_ : decode_).units->items[step.index];
  const BufferId to = buffers_.ring[RingPass(step.pass)][step.index];
  if (c_.proposal.OnDisk(item.tensor)) {
    const DiskFeed::Copies copies = disk_->Feed(item, to, std::move(after));
    waits_at_[s] = copies.first;
    step_of_[s] = copies.last;
    return;
  }
  const std::int64_t skipped = item.row_begin - c_.layout.master_begin[item.tensor];
  const Slice from = {buffers_.master[item.tensor], AffineBytes(RowBytes(c_.model().tensors[item.tensor]) * skipped),
                      AffineBytes(item.bytes)};
  step_of_[s] = waits_at_[s] = disk_ != nullptr ? disk_->Copy(from, to, std::move(after))
                                                : b_.Copy(lanes_.in, from, b_.Whole(to), std::move(after));
}

StepId PassEmitter::EmitLaunch(const RingStep& step, std::int32_t pass, Side& side, Passes at,
                               std::vector<StepRef> after) {
  const Unit& unit = side.units->units[step.index];
  Launch& launch = side.launches[step.index];
  const NativeKernel& kernel = *launch.kernel;
  const bool on_host = side.OnHost(unit.kernel);
  const BufferId piece = unit.item < 0 ? -1 : buffers_.ring[RingPass(step.pass)][unit.item];
  std::vector<Slice> reads =
      ReadsOf(b_, kernel, unit, {buffers_.resident, buffers_.master, piece},
              [&](const Operand& o) { return SliceOf(AtPasses(o, at.first, at.stride), on_host, side); });
  std::vector<Slice> writes;
  writes.reserve(kernel.writes.size());
  for (const Operand& o : kernel.writes) writes.push_back(SliceOf(AtPasses(o, at.first, at.stride), on_host, side));
  std::int32_t id = launch.id;
  if (DependsOnPass(kernel.kernel)) {
    id = b_.AddKernel(AtPasses(kernel.kernel, at.first, at.stride));
  } else if (id < 0) {
    id = launch.id = b_.AddKernel(kernel.kernel);
  }
  const Instance instance{.op = unit.kernel, .pass = pass, .tile = unit.tile};
  return b_.Compute(on_host ? lanes_.cpu : lanes_.compute, id, std::move(reads), std::move(writes), instance,
                    std::move(after));
}

Slice PassEmitter::SliceOf(const Operand& o, bool on_host, const Side& side) const {
  switch (o.source) {
    case Operand::Source::kActivation:
      return {(on_host ? *side.host_activations : *side.activations)[o.id], o.offset, o.bytes};
    case Operand::Source::kWeight:
      if (on_host && buffers_.computed[o.id] >= 0) return {buffers_.computed[o.id], o.offset, o.bytes};
      return {(on_host ? buffers_.master : buffers_.resident)[o.id], o.offset, o.bytes};
    case Operand::Source::kKeys:
      return {buffers_.keys[o.id], o.offset, o.bytes};
    case Operand::Source::kValues:
      return {buffers_.values[o.id], o.offset, o.bytes};
    case Operand::Source::kTokens:
      return {on_host ? buffers_.tokens_out : buffers_.tokens, o.offset, o.bytes};
  }
  return {};
}

// The body was emitted as its first iteration; add what a later iteration waits for in the one before it.
void PassEmitter::AddSteadyReferences(const PassLoop& loop) {
  const std::int32_t length = loop.body.end - loop.body.begin;
  for (std::int32_t s = 0; s < length; ++s) {
    const RingStep& steady = loop.steps[loop.body.end + s];
    Step& step = b_.step(waits_at_[loop.body.begin + s]);
    step_of_[loop.body.end + s] = step_of_[loop.body.begin + s];
    for (const std::int32_t r : steady.after) {
      if (r >= loop.body.end) continue;  // within the iteration: already there
      const StepRef ref{step_of_[r], 1};
      if (std::find(step.after.begin(), step.after.end(), ref) == step.after.end()) step.after.push_back(ref);
    }
  }
}

}  // namespace stowage

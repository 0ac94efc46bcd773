#include "sim/engine/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>

namespace stowage::sim {
namespace {

bool IsDisk(const Machine& machine, const std::string& name) {
  const std::int32_t found = machine.FindPool(name);
  return found >= 0 ? machine.pools[static_cast<std::size_t>(found)].kind == PoolKind::kDisk : name.starts_with("disk");
}

// Orders parts by parent, and compares a part with a parent.
struct ByParent {
  const Schedule* schedule;
  BufferId Parent(BufferId part) const { return schedule->buffers[static_cast<std::size_t>(part)].parent; }
  bool operator()(BufferId part, std::int64_t parent) const { return Parent(part) < parent; }
  bool operator()(std::int64_t parent, BufferId part) const { return parent < Parent(part); }
};

Memory::Outcome Done(const PoolBlocks::Change& change) {
  return {.device_mallocs = change.device_mallocs,
          .device_frees = change.device_frees,
          .synchronises = change.synchronises};
}

}  // namespace

Memory::Memory(const Schedule* schedule, const Machine* machine, const CachingAllocatorSettings& torch,
               const QueueProgress* queues, bool record_curves)
    : schedule_(schedule), machine_(machine), record_curves_(record_curves), place_(schedule->buffers.size(), -1) {
  torch_ = std::any_of(schedule->pools.begin(), schedule->pools.end(),
                       [](const PoolUse& use) { return use.allocator == Allocator::kTorchCaching; });
  for (const PoolUse& use : schedule->pools) {
    PoolState& pool = pools_.emplace_back();
    pool.counted = !IsDisk(*machine, use.name);
    pool.limit = use.budget > Bytes(0) ? use.budget.value() : std::numeric_limits<std::int64_t>::max();
    pool.context = machine->Reserved(use.name).value();
    pool.blocks = MakeBlocks(use, Bytes(pool.limit), torch, queues);
  }
  for (const Phase& phase : schedule->phases) {
    runs_passes_.push_back(phase.prologue.passes + phase.body.passes + phase.epilogue.passes > 0);
  }
  peaks_.resize(schedule->phases.size());
  entered_.resize(schedule->phases.size());
  for (std::size_t b = 0; b < schedule->buffers.size(); ++b) {
    if (schedule->buffers[b].parent >= 0 && schedule->buffers[b].bytes.base > 0) {
      parts_.push_back(static_cast<BufferId>(b));
    }
  }
  std::stable_sort(parts_.begin(), parts_.end(), [schedule](BufferId a, BufferId b) {
    const Buffer& left = schedule->buffers[static_cast<std::size_t>(a)];
    const Buffer& right = schedule->buffers[static_cast<std::size_t>(b)];
    return left.parent != right.parent ? left.parent < right.parent : left.offset < right.offset;
  });
}

std::unique_ptr<PoolBlocks> Memory::MakeBlocks(const PoolUse& use, Bytes limit, const CachingAllocatorSettings& torch,
                                               const QueueProgress* queues) const {
  const std::size_t buffers = schedule_->buffers.size();
  if (use.allocator == Allocator::kTorchCaching) return MakeCachingBlocks(limit, torch, buffers, queues);
  if (!torch_ || use.allocator != Allocator::kPageable) return MakeExactBlocks(limit, buffers);
  const std::int32_t found = machine_->FindPool(use.name);
  const bool limited = found >= 0 && machine_->pools[static_cast<std::size_t>(found)].pinned_limit.has_value();
  return MakeTorchHostBlocks(limit, limited ? *machine_->pools[static_cast<std::size_t>(found)].pinned_limit : limit,
                             schedule_);
}

bool Memory::Start() {
  for (std::size_t b = 0; b < schedule_->buffers.size(); ++b) {
    const Buffer& buffer = schedule_->buffers[b];
    if (!buffer.initial || buffer.parent >= 0 || buffer.file >= 0 || buffer.pool < 0) continue;
    PoolState& pool = pools_[static_cast<std::size_t>(buffer.pool)];
    if (!pool.counted) continue;
    const std::int64_t bytes = buffer.bytes.base;
    if (!pool.blocks->Allocate(static_cast<BufferId>(b), Bytes(bytes), -1, -1).fits) {
      OutOfMemoryAt(fmt::format("{} (there from the start)", buffer.name), 0, buffer.pool, bytes);
      return false;
    }
    Add(pool, static_cast<BufferId>(b), buffer.bytes.base, -1, 0, 0);
  }
  for (PoolState& pool : pools_) Sample(pool, 0);
  return true;
}

Memory::Outcome Memory::Act(StepId id, std::int32_t phase, std::int64_t iteration, double at) {
  const Step& step = schedule_->steps[static_cast<std::size_t>(id)];
  if (torch_ && phase != phase_) EnterPhase(phase);
  if (step.kind == StepKind::kEmptyCache) {
    if (step.pool < 0 || step.pool >= static_cast<std::int32_t>(pools_.size())) return Fail(id, "names no pool");
    PoolState& pool = pools_[static_cast<std::size_t>(step.pool)];
    TakeSnapshot(pool);
    const PoolBlocks::Change change = pool.blocks->EmptyCache();
    Sample(pool, at);
    return Done(change);
  }
  if (step.buffer < 0 || step.buffer >= static_cast<BufferId>(schedule_->buffers.size()))
    return Fail(id, "names no buffer");
  const Buffer& buffer = schedule_->buffers[static_cast<std::size_t>(step.buffer)];
  if (buffer.parent >= 0) return Fail(id, "names a part of a buffer");
  if (buffer.pool < 0 || buffer.pool >= static_cast<std::int32_t>(pools_.size()))
    return Fail(id, "its buffer has no pool");
  if (step.kind == StepKind::kAllocate) return Allocate(id, phase, iteration, at);
  if (place_[static_cast<std::size_t>(step.buffer)] < 0) {
    return Fail(id, fmt::format("buffer '{}' is not allocated", buffer.name));
  }
  if (step.kind == StepKind::kFree) return Free(id, at);
  pools_[static_cast<std::size_t>(buffer.pool)].blocks->RecordStream(step.buffer, step.queue);
  return {};
}

Memory::Outcome Memory::Allocate(StepId id, std::int32_t phase, std::int64_t iteration, double at) {
  const Step& step = schedule_->steps[static_cast<std::size_t>(id)];
  const Buffer& buffer = schedule_->buffers[static_cast<std::size_t>(step.buffer)];
  PoolState& pool = pools_[static_cast<std::size_t>(buffer.pool)];
  if (place_[static_cast<std::size_t>(step.buffer)] >= 0) {
    return Fail(id, fmt::format("buffer '{}' is already allocated", buffer.name));
  }
  const std::int64_t bytes = buffer.bytes.at(iteration).value();
  const PoolBlocks::Change change = pool.blocks->Allocate(step.buffer, Bytes(bytes), step.queue, at);
  if (!change.fits) return OutOfMemoryAt(schedule_->StepName(id), phase, buffer.pool, bytes);
  Add(pool, step.buffer, bytes, id, phase, at);
  Sample(pool, at);
  return Done(change);
}

Memory::Outcome Memory::Free(StepId id, double at) {
  const BufferId freed = schedule_->steps[static_cast<std::size_t>(id)].buffer;
  const Buffer& buffer = schedule_->buffers[static_cast<std::size_t>(freed)];
  PoolState& pool = pools_[static_cast<std::size_t>(buffer.pool)];
  TakeSnapshot(pool);
  pool.blocks->Free(freed);
  const auto place = static_cast<std::size_t>(place_[static_cast<std::size_t>(freed)]);
  const Held gone = pool.held[place];
  pool.live -= gone.bytes;
  if (gone.of_pass) live_of_passes_ -= gone.bytes;
  pool.held[place] = pool.held.back();
  pool.held.pop_back();
  if (place < pool.held.size())
    place_[static_cast<std::size_t>(pool.held[place].buffer)] = static_cast<std::int32_t>(place);
  place_[static_cast<std::size_t>(freed)] = -1;
  Sample(pool, at);
  return {};
}

Memory::Outcome Memory::Fail(StepId step, std::string what) {
  error_ = {ErrorCode::kInvalidInput, fmt::format("step {} '{}': {}", step, schedule_->StepName(step), what)};
  return {.state = Outcome::State::kError};
}

Memory::Outcome Memory::OutOfMemoryAt(std::string step, std::int32_t phase, std::int32_t pool, std::int64_t bytes) {
  const PoolState& state = pools_[static_cast<std::size_t>(pool)];
  out_of_memory_ = OutOfMemory{schedule_->pools[static_cast<std::size_t>(pool)].name, std::move(step),
                               schedule_->phases.empty() ? "" : schedule_->phases[static_cast<std::size_t>(phase)].name,
                               Bytes(bytes), std::max(Bytes(0), Bytes(state.limit) - state.blocks->used())};
  return {.state = Outcome::State::kOutOfMemory};
}

void Memory::Add(PoolState& pool, BufferId buffer, std::int64_t bytes, StepId step, std::int32_t phase, double at) {
  const std::int64_t used = pool.blocks->used().value();
  const std::int64_t live = pool.live + bytes;
  const bool higher = used > pool.peak_used || (used == pool.peak_used && live > pool.peak_live);
  if (!higher) TakeSnapshot(pool);
  place_[static_cast<std::size_t>(buffer)] = static_cast<std::int32_t>(pool.held.size());
  const bool of_pass = torch_ && OfPass(schedule_->buffers[static_cast<std::size_t>(buffer)]);
  pool.held.push_back({buffer, bytes, of_pass});
  if (of_pass) live_of_passes_ += bytes;
  pool.live = live;
  if (!higher) return;
  pool.peak_used = used;
  pool.peak_live = live;
  pool.peak_at = at;
  pool.peak_step = step;
  pool.peak_phase = phase;
  pool.snapshot_due = true;
}

void Memory::TakeSnapshot(PoolState& pool) {
  if (!pool.snapshot_due) return;
  pool.snapshot.assign(pool.held.begin(), pool.held.end());
  pool.snapshot_due = false;
}

void Memory::Sample(PoolState& pool, double at) {
  const Bytes used = pool.blocks->used();
  pinned_peak_ = std::max(pinned_peak_, pool.blocks->pinned());
  if (schedule_->pools[static_cast<std::size_t>(&pool - pools_.data())].allocator == Allocator::kTorchCaching) {
    allocated_peak_ = std::max(allocated_peak_, pool.blocks->allocated().value());
    reserved_peak_ = std::max(reserved_peak_, used.value());
    NotePeaks(pool);
  }
  if (!record_curves_) return;
  const Bytes bytes = used + Bytes(pool.context);
  if (!pool.curve.empty() && pool.curve.back().bytes == bytes) return;
  pool.curve.push_back({Seconds(at), bytes});
}

bool Memory::OfPass(const Buffer& buffer) const {
  const bool torch = schedule_->pools[static_cast<std::size_t>(buffer.pool)].allocator == Allocator::kTorchCaching;
  return torch && phase_ >= 0 && runs_passes_[static_cast<std::size_t>(phase_)] &&
         buffer.kind != BufferKind::kWorkspace;
}

void Memory::EnterPhase(std::int32_t phase) {
  phase_ = phase;
  entered_[static_cast<std::size_t>(phase)] = true;
  ForgetWhatEarlierPassesLeft();
  for (std::size_t p = 0; p < pools_.size(); ++p) {
    if (schedule_->pools[p].allocator == Allocator::kTorchCaching) NotePeaks(pools_[p]);
  }
}

// Caches and ids are what a pass is given; whatever else earlier ones left is not of it.
void Memory::ForgetWhatEarlierPassesLeft() {
  for (PoolState& pool : pools_) {
    for (Held& held : pool.held) {
      if (!held.of_pass) continue;
      if (schedule_->buffers[static_cast<std::size_t>(held.buffer)].kind != BufferKind::kActivations) continue;
      held.of_pass = false;
      live_of_passes_ -= held.bytes;
    }
  }
}

void Memory::NotePeaks(const PoolState& pool) {
  if (phase_ < 0) return;
  TorchPeaks& peaks = peaks_[static_cast<std::size_t>(phase_)];
  peaks.allocated = std::max(peaks.allocated, pool.blocks->allocated());
  peaks.reserved = std::max(peaks.reserved, pool.blocks->used());
  peaks.live = std::max(peaks.live, Bytes(live_of_passes_));
}

// Neighbouring phases of one name are one phase of the timeline.
void Memory::FinishPhases(Timeline& timeline) const {
  std::size_t at = 0;
  for (std::size_t p = 0; p < peaks_.size(); ++p) {
    while (at < timeline.phases.size() && timeline.phases[at].phase != schedule_->phases[p].name) ++at;
    if (at == timeline.phases.size()) return;
    if (!entered_[p]) continue;
    TorchPeaks& out = timeline.phases[at].torch ? *timeline.phases[at].torch : timeline.phases[at].torch.emplace();
    out.allocated = std::max(out.allocated, peaks_[p].allocated);
    out.reserved = std::max(out.reserved, peaks_[p].reserved);
    out.live = std::max(out.live, peaks_[p].live);
  }
}

void Memory::AddParts(const Held& held, std::vector<PeakBuffer>& lines) const {
  const Buffer& root = schedule_->buffers[static_cast<std::size_t>(held.buffer)];
  const auto [first, last] =
      std::equal_range(parts_.begin(), parts_.end(), std::int64_t{held.buffer}, ByParent{schedule_});
  const std::span<const BufferId> parts(first, last);
  Bytes end;
  Bytes sum;
  bool disjoint = !parts.empty();
  for (const BufferId id : parts) {
    const Buffer* part = &schedule_->buffers[static_cast<std::size_t>(id)];
    disjoint &= part->offset >= end;
    end = part->offset + part->bytes.at(0);
    sum += part->bytes.at(0);
  }
  if (!disjoint || sum > Bytes(held.bytes)) {
    lines.push_back({root.name, std::string(Name(root.kind)), Bytes(held.bytes)});
    return;
  }
  for (const BufferId id : parts) {
    const Buffer& part = schedule_->buffers[static_cast<std::size_t>(id)];
    lines.push_back({part.name, std::string(Name(part.kind)), part.bytes.at(0)});
  }
  const Bytes rest = Bytes(held.bytes) - sum;
  if (rest > Bytes(0)) lines.push_back({root.name + " (unused)", std::string(Name(root.kind)), rest});
}

std::vector<PeakBuffer> Memory::Attribute(const PoolState& pool, const std::string& name) const {
  std::vector<PeakBuffer> lines;
  for (const Held& held : pool.snapshot) AddParts(held, lines);
  for (const Reservation& r : machine_->reservations) {
    if (r.pool == name) lines.push_back({r.name, std::string(stowage::Name(BufferKind::kContext)), r.bytes});
  }
  const Bytes rest(std::max<std::int64_t>(pool.peak_used, 0) - pool.peak_live);
  if (rest > Bytes(0)) lines.push_back({"cached or lost to rounding by the allocator", "fragmentation", rest});
  std::erase_if(lines, [](const PeakBuffer& line) { return line.bytes == Bytes(0); });
  std::sort(lines.begin(), lines.end(), [](const PeakBuffer& a, const PeakBuffer& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.name < b.name;
  });
  return lines;
}

Bytes Memory::BudgetOf(std::size_t pool) const {
  const PoolUse& use = schedule_->pools[pool];
  if (use.budget > Bytes(0)) return use.budget + Bytes(pools_[pool].context);
  const std::int32_t found = machine_->FindPool(use.name);
  return found >= 0 ? machine_->pools[static_cast<std::size_t>(found)].budget : Bytes(0);
}

void Memory::Finish(Timeline& timeline) {
  for (std::size_t p = 0; p < pools_.size(); ++p) {
    PoolState& pool = pools_[p];
    if (!pool.counted) continue;
    TakeSnapshot(pool);
    const std::string& name = schedule_->pools[p].name;
    Peak peak;
    peak.bytes = Bytes(std::max<std::int64_t>(pool.peak_used, 0) + pool.context);
    peak.at = Seconds(pool.peak_at);
    peak.step = pool.peak_step >= 0 ? schedule_->StepName(pool.peak_step) : "start";
    if (!schedule_->phases.empty()) peak.phase = schedule_->phases[static_cast<std::size_t>(pool.peak_phase)].name;
    peak.buffers = Attribute(pool, name);
    timeline.pools.push_back({name, BudgetOf(p), std::move(peak), std::move(pool.curve)});
  }
  if (torch_) FinishPhases(timeline);
  if (torch_) timeline.torch = TorchMemory{Bytes(allocated_peak_), Bytes(reserved_peak_), pinned_peak_};
  timeline.out_of_memory = out_of_memory_;
}

}  // namespace stowage::sim

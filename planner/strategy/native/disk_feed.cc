#include "planner/strategy/native/disk_feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "planner/strategy/native/load.h"
#include "planner/strategy/native/on_host.h"

namespace stowage {
namespace {

constexpr std::int32_t kMostSlots = 8;

// Bytes of a tensor's rows that are not resident, and whether they are on the disk.
Bytes Streamed(const NativeModel& native, const NativeProposal& proposal, TensorId t) {
  return native.row_bytes[t] * (native.rows[t] - proposal.resident_rows[t]);
}

bool StoredAsUsed(const NativeModel& native, TensorId t) { return native.load[t].file == native.load[t].memory; }

bool Gathered(const NativeModel& native, TensorId t) {
  return native.expert[t] && (native.prefill_gathers || native.decode_gathers);
}

// What goes to the disk together, in order of use: a matrix, or all experts of a kernel that gathers them. Only what is
// streamed, and not by kernels of the host.
std::vector<std::vector<TensorId>> GroupsOf(const NativeModel& native, const Model& model,
                                            const NativeProposal& proposal) {
  const Readers readers = ReadersOf(native, proposal, model.tensors.size());
  std::vector<std::int32_t> kernel_of(model.tensors.size(), -1);
  for (std::size_t k = 0; k < native.prefill.kernels.size(); ++k) {
    const NativeKernel& kernel = native.prefill.kernels[k];
    for (std::int32_t m = 0; m < kernel.matrices; ++m) {
      const TensorId t = kernel.reads[kernel.first_matrix + m].id;
      if (Gathered(native, t)) kernel_of[t] = static_cast<std::int32_t>(k);
    }
  }
  std::map<std::int32_t, std::size_t> group_of;  // by kernel
  std::vector<std::vector<TensorId>> groups;
  std::set<std::size_t> refused;
  for (const TensorId t : native.used) {
    const auto next = groups.size();
    const std::size_t group = kernel_of[t] < 0 ? next : group_of.try_emplace(kernel_of[t], next).first->second;
    if (group == next) groups.emplace_back();
    if (readers.host[t] || !(CanBeOnDisk(native, t) || (kernel_of[t] >= 0 && StoredAsUsed(native, t)))) {
      refused.insert(group);
    } else if (Streamed(native, proposal, t) > Bytes(0)) {
      groups[group].push_back(t);
    }
  }
  for (const std::size_t group : refused) groups[group].clear();
  std::erase_if(groups, [](const std::vector<TensorId>& group) { return group.empty(); });
  return groups;
}

}  // namespace

bool ReadsFromDisk(const NativeKernel& kernel, const NativeProposal& proposal) {
  for (std::int32_t m = 0; m < kernel.matrices; ++m) {
    if (proposal.OnDisk(kernel.reads[kernel.first_matrix + m].id)) return true;
  }
  return false;
}

HostRing HostRingFor(const NativeModel& native, const NativeProposal& proposal, Bytes limit) {
  Bytes largest;
  for (const TensorId t : native.used) {
    if (proposal.OnDisk(t)) largest = std::max(largest, std::min(Streamed(native, proposal, t), proposal.tile));
  }
  if (largest == Bytes(0)) return {};
  for (Bytes chunk = kStagingChunk;; chunk = chunk / 2) {
    const Bytes slot = RoundUp(std::min(largest, chunk), kAlignment);
    const std::int64_t slots = limit.value() / slot.value();
    if (slots >= 2 || chunk == kLeastStagingChunk) {
      return {slot, static_cast<std::int32_t>(std::clamp<std::int64_t>(slots, 2, kMostSlots))};
    }
  }
}

bool CanBeOnDisk(const NativeModel& native, TensorId tensor) {
  return native.multiplied[tensor] && !native.gathered[tensor] && !Gathered(native, tensor) &&
         StoredAsUsed(native, tensor);
}

bool MayLeaveForDisk(const NativeModel& native, TensorId tensor) {
  return CanBeOnDisk(native, tensor) || (Gathered(native, tensor) && StoredAsUsed(native, tensor));
}

void MoveToDisk(const NativeModel& native, const PlanningTask& task, NativeProposal& proposal) {
  const Model& model = *task.model;
  const Pool& host = task.machine->pools[task.machine->FindPool("host")];
  const Bytes limit = std::min(host.budget, host.pinned_limit.value_or(host.budget));
  if (HostBudgetFor(native, task, proposal) <= limit) return;
  const std::vector<std::vector<TensorId>> movable = GroupsOf(native, model, proposal);
  if (movable.empty()) return;
  const auto size_of = [&](const std::vector<TensorId>& group) {
    Bytes size;
    for (const TensorId t : group) size += RoundUp(Streamed(native, proposal, t), kAlignment);
    return size;
  };
  Bytes all;
  for (const auto& group : movable) all += size_of(group);
  // Every group that an error diffusion of the share says; the share grows until it is enough.
  const auto mark = [&](Bytes wanted) {
    proposal.on_disk.assign(model.tensors.size(), false);
    Bytes due, moved;  // due: counted in units of 1 / all
    for (const auto& group : movable) {
      const Bytes size = size_of(group);
      due += size;
      const double share = static_cast<double>(wanted.value()) / static_cast<double>(all.value());
      if (static_cast<double>(due.value()) * share < static_cast<double>((moved + size / 2).value())) continue;
      for (const TensorId t : group) proposal.on_disk[t] = true;
      moved += size;
    }
    return HostBudgetFor(native, task, proposal) <= limit;
  };
  Bytes too_little, enough = all;
  if (!mark(all)) return;
  while (enough - too_little > all / 1000) {
    const Bytes middle = too_little + (enough - too_little) / 2;
    (mark(middle) ? enough : too_little) = middle;
  }
  mark(enough);
}

DiskFeed::DiskFeed(ScheduleBuilder* b, const Model* model, const Lanes& lanes, BufferId host_ring, const HostRing& size)
    : b_(*b), model_(*model), lanes_(lanes), size_(size), last_copy_(size.slots, -1), first_read_(size.slots, -1) {
  for (std::int32_t s = 0; s < size.slots; ++s) {
    slots_.push_back(
        b_.AddPart(host_ring, fmt::format("host ring slot {}", s), BufferKind::kStaging, size.slot * s, size.slot));
  }
}

BufferId DiskFeed::FileOf(TensorId id) {
  const auto [it, fresh] = files_.try_emplace(id, -1);
  if (!fresh) return it->second;
  const Tensor& t = model_.tensors[id];
  const FileSlice nowhere{.file = 0, .offset = unwritten_};  // a model without a checkpoint: one imagined file
  if (!t.source) unwritten_ += StoredBytes(t).value();
  const FileSlice& at = t.source ? *t.source : nowhere;
  return it->second = b_.AddFileBuffer(lanes_.disk, t.name + "@file", at.file, at.offset, StoredBytes(t));
}

void DiskFeed::Start(StepId loaded) {
  b_.UseIssuer(lanes_.issuer);
  b_.Wait({loaded});
  b_.UseIssuer(lanes_.main);
}

StepId DiskFeed::Copy(Slice from, BufferId to, std::vector<StepRef> after) {
  b_.UseIssuer(lanes_.issuer);
  const StepId copy = b_.Copy(lanes_.in, from, b_.Whole(to), std::move(after));
  b_.UseIssuer(lanes_.main);
  return copy;
}

DiskFeed::Copies DiskFeed::Feed(const StreamItem& item, BufferId to, std::vector<StepRef> after) {
  b_.UseIssuer(lanes_.issuer);
  const BufferId file = FileOf(item.tensor);
  const std::int64_t begin = (RowBytes(model_.tensors[item.tensor]) * item.row_begin).value();
  Copies out;
  for (std::int64_t done = 0; done < item.bytes.value(); done += size_.slot.value()) {
    const std::int64_t bytes = std::min(size_.slot.value(), item.bytes.value() - done);
    const std::size_t slot = next_++ % slots_.size();
    const Slice through{slots_[slot], AffineBytes(0), AffineBytes(bytes)};
    std::vector<StepRef> free;
    if (last_copy_[slot] >= 0) free.push_back({last_copy_[slot]});
    const StepId read =
        b_.Read(lanes_.read, {file, AffineBytes(begin + done), AffineBytes(bytes)}, through, std::move(free));
    if (body_begin_ >= 0 && first_read_[slot] < 0) first_read_[slot] = read;
    b_.Wait({read});
    out.last = b_.Copy(lanes_.in, through, {to, AffineBytes(done), AffineBytes(bytes)}, std::exchange(after, {}));
    if (out.first < 0) out.first = out.last;
    last_copy_[slot] = out.last;
  }
  b_.UseIssuer(lanes_.main);
  return out;
}

// In later iterations a slot is free when the iteration before has copied it away.
void DiskFeed::EndBody() {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const StepId read = std::exchange(first_read_[slot], -1);
    if (read >= 0) b_.step(read).after.push_back({last_copy_[slot], 1});
  }
  body_begin_ = -1;
}

}  // namespace stowage

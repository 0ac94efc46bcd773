#include "exec/run/memory.h"

#include <fmt/format.h>

namespace stowage {

RunMemory::RunMemory(const Schedule* schedule, DeviceSet* devices)
    : schedule_(schedule), places_(schedule->buffers.size()) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const auto id = static_cast<BufferId>(i);
    places_[i] = {.root = schedule->RootOf(id),
                  .offset = schedule->OffsetInRoot(id).value(),
                  .device = devices->Find(schedule->pools[schedule->buffers[i].pool].name)};
  }
}

Status RunMemory::AllocateInitial(const Contents& contents) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Buffer& buffer = schedule_->buffers[i];
    if (!buffer.initial || buffer.file >= 0) continue;
    const auto id = static_cast<BufferId>(i);
    if (buffer.parent < 0) STOWAGE_RETURN_IF_ERROR(Allocate(id, -1, Seconds(0)));
    const auto given = contents.find(buffer.name);
    if (given == contents.end()) {
      // A parent is filled through its parts, or its parts through it.
      bool related = buffer.parent >= 0 && contents.contains(schedule_->buffers[places_[i].root].name);
      for (std::size_t j = 0; j < places_.size() && !related; ++j) {
        related = j != i && places_[j].root == id && contents.contains(schedule_->buffers[j].name);
      }
      if (related) continue;
      return Error{ErrorCode::kInvalidInput, fmt::format("no contents given for the initial buffer '{}' of {} bytes",
                                                         buffer.name, SizeOf(id).value())};
    }
    if (static_cast<std::int64_t>(given->second.size()) != SizeOf(id).value()) {
      return Error{ErrorCode::kInvalidInput, fmt::format("initial buffer '{}' has {} bytes, the contents given {}",
                                                         buffer.name, SizeOf(id).value(), given->second.size())};
    }
    const Place& root = places_[places_[i].root];
    if (root.base == nullptr) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("initial buffer '{}' is part of one that is not initial", buffer.name)};
    }
    STOWAGE_RETURN_IF_ERROR(root.device->Write(root.base + places_[i].offset, given->second));
  }
  return OkStatus();
}

Status RunMemory::Allocate(BufferId id, StepId step, Seconds at) {
  const std::lock_guard lock(mutex_);
  const Buffer& buffer = schedule_->buffers[id];
  Place& place = places_[id];
  const std::string& pool = schedule_->pools[buffer.pool].name;
  if (place.device == nullptr) {
    return Error{ErrorCode::kInvalidInput, fmt::format("buffer '{}': there is no device '{}'", buffer.name, pool)};
  }
  if (buffer.parent >= 0 || place.base != nullptr || !buffer.bytes.constant()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("buffer '{}' is not an arena that can be allocated here: {}", buffer.name,
                             buffer.parent >= 0      ? "it is part of another"
                             : place.base != nullptr ? "it is already there"
                                                     : "its size changes with the iteration")};
  }
  STOWAGE_TRY(place.base, place.device->AllocateArena({buffer.name, SizeOf(id), buffer.pinned}));
  events_.push_back({.at = at, .buffer = id, .bytes = SizeOf(id), .step = step});
  return OkStatus();
}

Status RunMemory::Free(BufferId id, StepId step, Seconds at) {
  const std::lock_guard lock(mutex_);
  Place& place = places_[id];
  if (place.base == nullptr) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("buffer '{}' is freed but not allocated", schedule_->buffers[id].name)};
  }
  STOWAGE_RETURN_IF_ERROR(place.device->FreeArena(place.base));
  place.base = nullptr;
  events_.push_back({.at = at, .buffer = id, .bytes = -SizeOf(id), .step = step});
  return OkStatus();
}

void RunMemory::FreeAll() {
  for (Place& place : places_) {
    if (place.base == nullptr) continue;
    (void)place.device->FreeArena(place.base);
    place.base = nullptr;
  }
}

Result<Operand> RunMemory::Resolve(const Slice& slice, std::int64_t iteration) const {
  const std::lock_guard lock(mutex_);
  const Place& place = places_[slice.buffer];
  const Place& root = places_[place.root];
  const std::int64_t offset = slice.offset.at(iteration).value();
  const Bytes bytes = slice.bytes.at(iteration);
  const Buffer& buffer = schedule_->buffers[slice.buffer];
  if (root.base == nullptr) {
    return Error{ErrorCode::kInternal, fmt::format("buffer '{}' is used but not allocated", buffer.name)};
  }
  if (offset < 0 || bytes < Bytes(0) || offset + bytes.value() > SizeOf(slice.buffer).value() ||
      place.offset + offset + bytes.value() > SizeOf(place.root).value()) {
    return Error{ErrorCode::kInternal, fmt::format("bytes [{}, {}) of buffer '{}', which has {}", offset,
                                                   offset + bytes.value(), buffer.name, SizeOf(slice.buffer).value())};
  }
  return Operand{root.base + place.offset + offset, bytes};
}

Result<std::vector<std::byte>> RunMemory::Fetch(BufferId id) const {
  STOWAGE_TRY(const Operand all, Resolve({.buffer = id, .offset = 0, .bytes = SizeOf(id)}, 0));
  std::vector<std::byte> out(static_cast<std::size_t>(all.bytes.value()));
  STOWAGE_RETURN_IF_ERROR(places_[places_[id].root].device->Fetch(out, all.data));
  return out;
}

}  // namespace stowage

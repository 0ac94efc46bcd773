#include "exec/run/memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace stowage {

RunMemory::RunMemory(const Schedule* schedule, DeviceSet* devices, const Contents* contents)
    : schedule_(schedule), contents_(contents), places_(schedule->buffers.size()) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const auto id = static_cast<BufferId>(i);
    places_[i] = {.root = schedule->RootOf(id),
                  .offset = schedule->OffsetInRoot(id).value(),
                  .device = devices->Find(schedule->pools[schedule->buffers[i].pool].name)};
  }
}

Status RunMemory::AllocateInitial() {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Buffer& buffer = schedule_->buffers[i];
    if (!buffer.initial || buffer.file >= 0 || buffer.parent >= 0) continue;
    STOWAGE_RETURN_IF_ERROR(Allocate(static_cast<BufferId>(i), -1, Seconds(0)));
  }
  return OkStatus();
}

// Writes what was given for the arena and its parts. Lock held.
Status RunMemory::Fill(BufferId root) {
  Place& arena = places_[root];
  bool whole = false;  // the arena's own contents cover its parts
  for (std::size_t i = static_cast<std::size_t>(root); i < places_.size(); ++i) {
    const Buffer& buffer = schedule_->buffers[i];
    if (places_[i].root != root || !buffer.initial) continue;
    const Bytes size = SizeOf(static_cast<BufferId>(i));
    const auto given = contents_->find(buffer.name);
    if (given == contents_->end()) {
      const bool through_parts =
          buffer.parent < 0 && std::any_of(schedule_->buffers.begin(), schedule_->buffers.end(), [&](const Buffer& b) {
            return b.initial && b.parent >= 0 && schedule_->RootOf(b.parent) == root;
          });
      if (whole || through_parts) continue;
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("no contents given for the initial buffer '{}' of {} bytes", buffer.name, size.value())};
    }
    const auto bytes = static_cast<std::int64_t>(given->second.size());
    // Of a token buffer only the prompt is known; the rest is what the run is for.
    if (buffer.kind == BufferKind::kTokens ? bytes > size.value() : bytes != size.value()) {
      return Error{ErrorCode::kInvalidInput, fmt::format("initial buffer '{}' has {} bytes, the contents given {}",
                                                         buffer.name, size.value(), bytes)};
    }
    STOWAGE_RETURN_IF_ERROR(arena.device->Write(arena.base + places_[i].offset, given->second));
    whole = whole || buffer.parent < 0;
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
  return Fill(id);
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

Result<DeviceSlice> RunMemory::Resolve(const Slice& slice, std::int64_t iteration) const {
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
  return DeviceSlice{root.base + place.offset + offset, bytes};
}

Result<std::vector<std::byte>> RunMemory::Fetch(BufferId id) const {
  STOWAGE_TRY(const DeviceSlice all, Resolve({.buffer = id, .offset = 0, .bytes = SizeOf(id)}, 0));
  std::vector<std::byte> out(static_cast<std::size_t>(all.bytes.value()));
  STOWAGE_RETURN_IF_ERROR(places_[places_[id].root].device->Fetch(out, all.data));
  return out;
}

}  // namespace stowage

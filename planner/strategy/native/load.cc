#include "planner/strategy/native/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace stowage {
namespace {

// A quantized tensor is loaded as it is stored, from a checkpoint quantized beforehand: its unit is the byte.
bool Quantized(const Tensor& t) { return IsPacked(t.dtype) || t.scales > Bytes(0); }
DType FileDType(const Tensor& t) { return Quantized(t) ? DType::kU8 : t.source ? t.source->dtype : t.dtype; }
DType MemoryDType(const Tensor& t) { return Quantized(t) ? DType::kU8 : t.dtype; }
bool Converts(const Tensor& t) { return ConvertsOnLoad(t); }
bool Staged(const Tensor& t, const LoadItem& item) { return Converts(t) || !item.to_host; }

std::int64_t ChunkElements(const Tensor& t, const LoadItem& item, const StagingSize& size) {
  std::int64_t elements = size.slot.value() * 8 / Bits(FileDType(t));
  if (Converts(t) && !item.to_host) elements = std::min(elements, size.converted.value() * 8 / Bits(MemoryDType(t)));
  return elements;
}

// One chunk of an item: elements [first, first + count) of the tensor.
struct Chunk {
  const LoadItem* item = nullptr;
  BufferId to = -1;
  std::int64_t first = 0, count = 0;
  std::int16_t gpu = 0;  // of `to`, on a device
};

class Loader {
 public:
  Loader(ScheduleBuilder& b, const Model& model, const LoadLanes& lanes, std::int32_t disk_pool, BufferId staging,
         const StagingSize& size)
      : b_(b),
        model_(model),
        lanes_(lanes),
        disk_pool_(disk_pool),
        size_(size),
        slot_free_(size.slots),
        last_copy_(lanes.in.size(), -1) {
    for (std::int32_t s = 0; s < size.slots; ++s) {
      const Bytes at = (size.slot + size.converted) * s;
      raw_.push_back(b.AddPart(staging, fmt::format("staging slot {}", s), BufferKind::kStaging, at, size.slot));
      if (size.converted > Bytes(0)) {
        converted_.push_back(b.AddPart(staging, fmt::format("staging slot {} converted", s), BufferKind::kStaging,
                                       at + size.slot, size.converted));
      }
    }
  }

  // Reads one chunk ahead of the wait for the previous one, so the disk does not idle while the host waits.
  void Run(const std::vector<Chunk>& chunks) {
    std::optional<Pending> previous;
    for (const Chunk& chunk : chunks) {
      Pending now = Start(chunk);
      if (previous) Finish(*previous);
      previous = now;
    }
    if (previous) Finish(*previous);
    std::vector<StepId> ends = {last_straight_};
    ends.insert(ends.end(), last_copy_.begin(), last_copy_.end());
    ends.push_back(last_convert_);
    for (const StepId last : ends) {
      if (last >= 0) b_.Wait({last});
    }
  }

 private:
  struct Pending {
    Chunk chunk;
    std::int32_t slot = -1;
    StepId ready = -1;  // the step after which the bytes can be copied on
  };

  Slice Of(BufferId buffer, std::int64_t offset, std::int64_t bytes) const {
    return {buffer, AffineBytes(offset), AffineBytes(bytes)};
  }

  // One disk buffer per tensor, made when first read.
  BufferId FileBuffer(TensorId id) {
    const auto [it, fresh] = on_disk_.try_emplace(id, -1);
    if (!fresh) return it->second;
    const Tensor& t = model_.tensors[id];
    const Bytes bytes = SizeOf(FileDType(t), LoadFactsOf(t).units);
    const FileSlice nowhere{.file = 0, .offset = unwritten_};  // a model without a checkpoint: one imagined file
    if (!t.source) unwritten_ += bytes.value();
    const FileSlice& at = t.source ? *t.source : nowhere;
    it->second = b_.AddFileBuffer(disk_pool_, t.name + "@disk", at.file, at.offset, bytes);
    return it->second;
  }

  Slice Destination(const Chunk& c) const {
    const Tensor& t = model_.tensors[c.item->tensor];
    const DType dtype = MemoryDType(t);
    return Of(c.to, SizeOf(dtype, c.first - c.item->first_element).value(), SizeOf(dtype, c.count).value());
  }

  Pending Start(const Chunk& c) {
    const Tensor& t = model_.tensors[c.item->tensor];
    const DType from = FileDType(t);
    const Slice source = Of(FileBuffer(c.item->tensor), SizeOf(from, c.first).value(), SizeOf(from, c.count).value());
    if (!Staged(t, *c.item)) {
      last_straight_ = b_.Read(lanes_.disk, source, Destination(c));
      return {c, -1, last_straight_};
    }
    const std::int32_t slot = next_slot_++ % size_.slots;
    std::vector<StepRef> free;
    if (slot_free_[slot] >= 0) free.push_back({slot_free_[slot]});
    const Slice raw = Of(raw_[slot], 0, SizeOf(from, c.count).value());
    StepId ready = b_.Read(lanes_.disk, source, raw, free);
    if (Converts(t)) {
      const Slice to = c.item->to_host ? Destination(c) : Of(converted_[slot], 0, SizeOf(t.dtype, c.count).value());
      ready = Convert(t, c, raw, to, ready);
      if (c.item->to_host) slot_free_[slot] = ready;
    }
    return {c, slot, ready};
  }

  StepId Convert(const Tensor& t, const Chunk& c, const Slice& raw, const Slice& to, StepId read) {
    Kernel k{.kind = KernelKind::kConvert,
             .name = "convert " + t.name,
             .dtype = t.dtype,
             .from_dtype = FileDType(t),
             .rows = 1,
             .n = c.count};
    k.bytes = AffineBytes(raw.bytes.base + to.bytes.base);
    last_convert_ = b_.Compute(lanes_.convert, b_.AddKernel(std::move(k)), {raw}, {to}, {}, {{read}});
    return last_convert_;
  }

  // The copy to the device. The issuer waits for the bytes first: a device's stream cannot wait for a host thread.
  void Finish(const Pending& p) {
    if (p.chunk.item->to_host) return;
    const Tensor& t = model_.tensors[p.chunk.item->tensor];
    b_.Wait({p.ready});
    const BufferId from = Converts(t) ? converted_[p.slot] : raw_[p.slot];
    const std::int64_t bytes = SizeOf(MemoryDType(t), p.chunk.count).value();
    const std::int16_t gpu = p.chunk.gpu;
    slot_free_[p.slot] = last_copy_[gpu] = b_.Copy(lanes_.in[gpu], Of(from, 0, bytes), Destination(p.chunk));
  }

  ScheduleBuilder& b_;
  const Model& model_;
  const LoadLanes& lanes_;
  const std::int32_t disk_pool_;
  const StagingSize size_;
  std::vector<BufferId> raw_, converted_;
  std::vector<StepId> slot_free_;  // the step that last used the slot's bytes
  std::map<TensorId, BufferId> on_disk_;
  std::int64_t unwritten_ = 0;
  std::int32_t next_slot_ = 0;
  StepId last_straight_ = -1, last_convert_ = -1;
  std::vector<StepId> last_copy_;  // by GPU
};

}  // namespace

LoadFacts LoadFactsOf(const Tensor& tensor) {
  const std::int64_t units = Quantized(tensor) ? StoredBytes(tensor).value() : Elements(tensor.shape);
  return {units, FileDType(tensor), MemoryDType(tensor), tensor.buffer};
}

bool ConvertsOnLoad(const Tensor& tensor) { return FileDType(tensor) != MemoryDType(tensor); }

std::vector<LoadItem> LoadItemsOf(const NativeModel& native, const NativeProposal& proposal,
                                  const NativeLayout& layout) {
  std::vector<LoadItem> items;
  for (const TensorId t : native.used) {
    if (native.load[t].computed) continue;
    const std::int64_t rows = native.rows[t], row_elements = native.load[t].units / rows;
    const std::int64_t resident = proposal.resident_rows[t], begin = layout.master_begin[t];
    if (resident > 0) items.push_back({t, false, 0, resident * row_elements});
    if (begin < rows) items.push_back({t, true, begin * row_elements, (rows - begin) * row_elements});
  }
  return items;
}

namespace {

StagingSize StagingOf(Bytes largest_raw, Bytes largest_converted, Bytes limit) {
  if (largest_raw == Bytes(0)) return {};
  StagingSize size;
  for (Bytes chunk = kStagingChunk;; chunk = chunk / 2) {
    size.slot = RoundUp(std::min(largest_raw, chunk), kAlignment);
    size.converted = RoundUp(std::min(largest_converted, chunk), kAlignment);
    const std::int64_t slots = std::min(limit, kStagingRing).value() / (size.slot + size.converted).value();
    size.slots = static_cast<std::int32_t>(std::clamp<std::int64_t>(slots, 2, 8));
    if (slots >= 2 || chunk == kLeastStagingChunk) return size;
  }
}

}  // namespace

StagingSize StagingFor(const Model& model, const std::vector<LoadItem>& items, Bytes limit) {
  Bytes largest_raw, largest_converted;
  for (const LoadItem& item : items) {
    const Tensor& t = model.tensors[item.tensor];
    if (!Staged(t, item)) continue;
    largest_raw = std::max(largest_raw, SizeOf(FileDType(t), item.elements));
    if (Converts(t) && !item.to_host) largest_converted = std::max(largest_converted, SizeOf(t.dtype, item.elements));
  }
  return StagingOf(largest_raw, largest_converted, limit);
}

Bytes LeastStaging(const NativeModel& native, const NativeProposal& proposal, const NativeLayout& layout) {
  Bytes largest_raw, largest_converted;
  for (const TensorId t : native.used) {
    const LoadFacts& facts = native.load[t];
    if (facts.computed) continue;
    const std::int64_t rows = native.rows[t], row_units = facts.units / rows;
    const std::int64_t to_device = proposal.resident_rows[t] * row_units;
    const bool converts = facts.file != facts.memory;
    if (to_device > 0) largest_raw = std::max(largest_raw, SizeOf(facts.file, to_device));
    if (!converts) continue;
    largest_raw = std::max(largest_raw, SizeOf(facts.file, (rows - layout.master_begin[t]) * row_units));
    largest_converted = std::max(largest_converted, SizeOf(facts.memory, to_device));
  }
  return StagingOf(largest_raw, largest_converted, Bytes(0)).total();
}

void EmitLoad(ScheduleBuilder& b, const Model& model, const std::vector<LoadItem>& items, const LoadTargets& targets,
              const LoadLanes& lanes, std::int32_t disk_pool, BufferId staging, const StagingSize& size) {
  std::vector<Chunk> chunks;
  for (const LoadItem& item : items) {
    const Tensor& t = model.tensors[item.tensor];
    const std::int64_t per_chunk =
        Staged(t, item) ? ChunkElements(t, item, size) : kStagingChunk.value() * 8 / Bits(MemoryDType(t));
    for (std::int64_t done = 0; done < item.elements; done += per_chunk) {
      const BufferId to = (item.to_host ? targets.host : targets.device)[item.tensor];
      const std::int16_t gpu = targets.gpu == nullptr ? std::int16_t{0} : (*targets.gpu)[item.tensor];
      chunks.push_back({&item, to, item.first_element + done, std::min(per_chunk, item.elements - done), gpu});
    }
  }
  Loader(b, model, lanes, disk_pool, staging, size).Run(chunks);
}

}  // namespace stowage

#include "sim/memory/caching_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "planner/base/check.h"
#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kMinBlock = 512;
constexpr std::int64_t kSmallSize = kMiB;  // the largest request of the small pool
constexpr std::int64_t kSmallSegment = 2 * kMiB;
constexpr std::int64_t kLargeSegment = 20 * kMiB;  // for requests below kMinOwnSegment
constexpr std::int64_t kMinOwnSegment = 10 * kMiB;
constexpr std::int64_t kSegmentRounding = 2 * kMiB;

std::int64_t SegmentSize(std::int64_t rounded) {
  if (rounded <= kSmallSize) return kSmallSegment;
  if (rounded < kMinOwnSegment) return kLargeSegment;
  return (rounded + kSegmentRounding - 1) / kSegmentRounding * kSegmentRounding;
}

bool IsSmall(std::int32_t pool) { return (pool & 1) != 0; }

int RunOf(std::int64_t size) { return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size))) - 1; }

template <class Entry>
bool Before(const Entry& entry, std::int64_t size, std::int64_t address) {
  return entry.size < size || (entry.size == size && entry.address < address);
}

template <class Entries>
auto LowerBound(Entries& run, std::int64_t size, std::int64_t address) {
  return std::partition_point(run.begin(), run.end(), [&](const auto& e) { return Before(e, size, address); });
}

}  // namespace

void CachingAllocator::FreeBlocks::Insert(const Entry& entry) {
  const int i = RunOf(entry.size);
  std::vector<Entry>& run = runs_[i];
  run.insert(LowerBound(run, entry.size, entry.address), entry);
  occupied_ |= std::uint64_t{1} << i;
}

void CachingAllocator::FreeBlocks::Erase(std::int64_t size, std::int64_t address) {
  const int i = RunOf(size);
  std::vector<Entry>& run = runs_[i];
  const auto at = LowerBound(run, size, address);
  STOWAGE_CHECK(at != run.end() && at->size == size && at->address == address);
  run.erase(at);
  if (run.empty()) occupied_ &= ~(std::uint64_t{1} << i);
}

CachingAllocator::BlockId CachingAllocator::FreeBlocks::TakeBestFit(std::int64_t size) {
  int i = RunOf(size);
  auto at = LowerBound(runs_[i], size, 0);
  if (at == runs_[i].end()) {
    const std::uint64_t larger = occupied_ & ~((std::uint64_t{2} << i) - 1);
    if (larger == 0) return kNoBlock;
    i = std::countr_zero(larger);
    at = runs_[i].begin();
  }
  const BlockId block = at->block;
  runs_[i].erase(at);
  if (runs_[i].empty()) occupied_ &= ~(std::uint64_t{1} << i);
  return block;
}

CachingAllocator::BlockId CachingAllocator::NewBlock() {
  if (spare_.empty()) {
    blocks_.emplace_back();
    return static_cast<BlockId>(blocks_.size() - 1);
  }
  const BlockId id = spare_.back();
  spare_.pop_back();
  blocks_[id] = {};
  return id;
}

// Cuts `id` after so many bytes; the rest is a block in no list yet.
CachingAllocator::BlockId CachingAllocator::SplitOff(BlockId id, std::int64_t bytes) {
  const BlockId tail_id = NewBlock();  // may move blocks_
  Block& head = blocks_[id];
  Block& tail = blocks_[tail_id];
  tail.address = head.address + bytes;
  tail.size = head.size - bytes;
  tail.pool = head.pool;
  tail.expandable = head.expandable;
  tail.prev = id;
  tail.next = head.next;
  if (tail.next != kNoBlock) blocks_[tail.next].prev = tail_id;
  head.next = tail_id;
  head.size = bytes;
  return tail_id;
}

void CachingAllocator::AddFree(BlockId id) {
  Block& block = blocks_[id];
  block.idle_since = searches_[static_cast<std::size_t>(block.pool)];
  pools_[block.pool].Insert({block.size, block.address, id});
}

// kNoBlock when the device has no room for it.
CachingAllocator::BlockId CachingAllocator::NewSegment(std::int64_t rounded, std::int32_t pool) {
  if (settings_.expandable_segments) return TakeExpandable(rounded, pool);
  const std::int64_t size = SegmentSize(rounded);
  if (reserved_ + Bytes(size) > limit_) return kNoBlock;
  const BlockId id = NewBlock();
  blocks_[id].address = next_address_;
  blocks_[id].size = size;
  blocks_[id].pool = pool;
  next_address_ += size;
  reserved_ += Bytes(size);
  ++device_mallocs_;
  return id;
}

Result<CachingAllocator::BlockId> CachingAllocator::Allocate(Bytes size, std::int32_t stream) {
  STOWAGE_CHECK(size.value() >= 0 && stream >= 0);
  if (size.value() == 0) return kNoBlock;
  const std::int64_t rounded = RoundedRequest(size.value());
  const std::int32_t pool = 2 * stream + (rounded <= kSmallSize ? 1 : 0);
  if (pools_.size() <= static_cast<std::size_t>(pool)) {
    pools_.resize(2 * static_cast<std::size_t>(stream) + 2);
    searches_.resize(pools_.size());
  }
  BlockId id = TakeFree(rounded, pool);
  if (id == kNoBlock && settings_.garbage_collection_threshold > 0) CollectGarbage();
  if (id == kNoBlock) id = NewSegment(rounded, pool);
  if (id == kNoBlock && ReleaseOversize(rounded, pool)) id = NewSegment(rounded, pool);
  if (id == kNoBlock && ReleaseFreeSegments()) id = NewSegment(rounded, pool);
  if (id == kNoBlock) return OutOfMemory(size, rounded, stream);

  const std::int64_t rest = blocks_[id].size - rounded;
  const bool small = IsSmall(pool) || settings_.expandable_segments;
  if (small ? rest >= kMinBlock : rest > kSmallSize && !IsOversize(rounded)) AddFree(SplitOff(id, rounded));
  Block& block = blocks_[id];
  block.used = true;
  block.requested = size.value();
  allocated_ += Bytes(block.size);
  requested_ += size;
  return id;
}

CachingAllocator::Ticket CachingAllocator::Free(BlockId id) {
  if (id == kNoBlock) return 0;
  STOWAGE_CHECK(static_cast<std::size_t>(id) < blocks_.size() && blocks_[id].used && blocks_[id].requested > 0);
  allocated_ -= Bytes(blocks_[id].size);
  requested_ -= Bytes(blocks_[id].requested);
  blocks_[id].requested = 0;  // a second Free is caught
  if (blocks_[id].shared) {
    std::erase_if(uses_, [&](const Uses& u) { return u.block == id; });
    blocks_[id].shared = false;
    pending_.push_back({++last_ticket_, id});
    return last_ticket_;
  }
  Reclaim(id);
  return 0;
}

// Makes a block reusable: merges it with its free neighbours.
void CachingAllocator::Reclaim(BlockId id) {
  Block& block = blocks_[id];
  block.used = false;
  if (const BlockId next = block.next; next != kNoBlock && !blocks_[next].used && !blocks_[next].unmapped) {
    const Block& tail = blocks_[next];
    pools_[block.pool].Erase(tail.size, tail.address);
    block.size += tail.size;
    block.next = tail.next;
    if (block.next != kNoBlock) blocks_[block.next].prev = id;
    spare_.push_back(next);
  }
  if (const BlockId prev = block.prev; prev != kNoBlock && !blocks_[prev].used && !blocks_[prev].unmapped) {
    Block& head = blocks_[prev];
    pools_[block.pool].Erase(head.size, head.address);
    head.size += block.size;
    head.next = block.next;
    if (head.next != kNoBlock) blocks_[head.next].prev = prev;
    spare_.push_back(id);
    id = prev;
  }
  AddFree(id);
}

void CachingAllocator::RecordStream(BlockId id, std::int32_t stream) {
  if (id == kNoBlock || blocks_[id].pool / 2 == stream) return;
  STOWAGE_CHECK(blocks_[id].used && blocks_[id].requested > 0);
  auto at = std::find_if(uses_.begin(), uses_.end(), [&](const Uses& u) { return u.block == id; });
  if (at == uses_.end()) at = uses_.insert(at, Uses{id, {}});
  if (std::find(at->streams.begin(), at->streams.end(), stream) == at->streams.end()) at->streams.push_back(stream);
  blocks_[id].shared = true;
}

std::span<const std::int32_t> CachingAllocator::StreamsOf(BlockId id) const {
  const auto at = std::find_if(uses_.begin(), uses_.end(), [&](const Uses& u) { return u.block == id; });
  if (at == uses_.end()) return {};
  return at->streams;
}

void CachingAllocator::Complete(Ticket ticket) {
  const auto at =
      std::partition_point(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.ticket < ticket; });
  if (at == pending_.end() || at->ticket != ticket) return;
  const BlockId block = at->block;
  pending_.erase(at);
  Reclaim(block);
}

void CachingAllocator::CompleteAll() {
  for (const Pending& pending : pending_) Reclaim(pending.block);
  pending_.clear();
}

// Whether anything was given back. The order of the segments does not matter: nothing but sums remains of them.
bool CachingAllocator::ReleaseFreeSegments() {
  CompleteAll();
  const std::int64_t before = device_frees_;
  std::vector<BlockId> whole, expandable;
  for (const FreeBlocks& pool : pools_) {
    pool.ForEach([&](const FreeBlocks::Entry& entry) {
      const Block& block = blocks_[entry.block];
      if (block.expandable) {
        expandable.push_back(entry.block);
      } else if (block.prev == kNoBlock && block.next == kNoBlock) {
        whole.push_back(entry.block);
      }
    });
  }
  for (const BlockId id : whole) ReleaseSegment(id);
  for (const BlockId id : expandable) UnmapBlock(id);
  return device_frees_ > before;
}

void CachingAllocator::EmptyCache() { ReleaseFreeSegments(); }

Error CachingAllocator::OutOfMemory(Bytes size, std::int64_t rounded, std::int32_t stream) const {
  std::int64_t largest = 0;
  for (std::size_t pool = 0; pool < pools_.size(); ++pool) {
    if (static_cast<std::int32_t>(pool / 2) != stream ||
        IsSmall(static_cast<std::int32_t>(pool)) != (rounded <= kSmallSize))
      continue;
    pools_[pool].ForEach([&](const FreeBlocks::Entry& entry) { largest = std::max(largest, entry.size); });
  }
  return {ErrorCode::kOutOfMemory,
          fmt::format(
              "a tensor of {} needs a segment of {}, the device has {} left of {} ({} reserved, {} of it allocated, "
              "largest free block of its pool {})",
              FormatBytes(size), FormatBytes(Bytes(SegmentSize(rounded))), FormatBytes(limit_ - reserved_),
              FormatBytes(limit_), FormatBytes(reserved_), FormatBytes(allocated_), FormatBytes(Bytes(largest)))};
}

std::vector<CachingAllocator::BlockInfo> CachingAllocator::Snapshot() const {
  std::vector<bool> spare(blocks_.size());
  for (const BlockId id : spare_) spare[id] = true;
  std::vector<BlockInfo> infos;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (spare[i] || blocks_[i].unmapped) continue;
    const Block& b = blocks_[i];
    infos.push_back({.address = b.address,
                     .bytes = Bytes(b.size),
                     .stream = b.pool / 2,
                     .small = IsSmall(b.pool),
                     .used = b.used,
                     .segment_begin = b.prev == kNoBlock});
  }
  std::sort(infos.begin(), infos.end(), [](const BlockInfo& a, const BlockInfo& b) { return a.address < b.address; });
  return infos;
}

}  // namespace stowage

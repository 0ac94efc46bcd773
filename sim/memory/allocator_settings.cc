// CachingAllocator where PYTORCH_ALLOC_CONF says something.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <utility>

#include "planner/base/check.h"
#include "planner/base/nearest.h"
#include "sim/memory/caching_allocator.h"

namespace stowage {
namespace {

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kMinBlock = 512;
constexpr std::int64_t kLeastSplitLimit = 20 * kMiB;  // torch takes only more
constexpr std::int64_t kMostMegabytes = std::int64_t{1} << 40;
constexpr std::int64_t kOversizeLoss = 20 * kMiB;  // of what an oversize block may be larger than its request

std::int64_t PageSize(std::int32_t pool) { return ((pool & 1) != 0 ? 2 : 20) * kMiB; }
std::int64_t Up(std::int64_t bytes, std::int64_t unit) { return (bytes + unit - 1) / unit * unit; }

constexpr std::array<std::string_view, 4> kKeys = {"expandable_segments", "garbage_collection_threshold",
                                                   "max_split_size_mb", "roundup_power2_divisions"};

Error Expected(std::string_view key, std::string_view value, std::string_view what) {
  return {ErrorCode::kInvalidInput, fmt::format("{}: '{}' is not {}", key, value, what)};
}

template <class Number>
bool ParseAll(std::string_view text, Number& out) {
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && at == text.data() + text.size();
}

Status ParseOption(std::string_view option, CachingAllocatorSettings& out) {
  const std::size_t colon = option.find(':');
  const std::string_view key = option.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? "" : option.substr(colon + 1);
  if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
    const std::string_view near = Nearest(key, kKeys);
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("key '{}' (value '{}') is not simulated{}; these are: {}", key, value,
                             near.empty() ? "" : fmt::format(", did you mean {}", near), fmt::join(kKeys, ", "))};
  }
  if (key == "max_split_size_mb") {
    std::int64_t megabytes = 0;
    if (!ParseAll(value, megabytes) || megabytes <= kLeastSplitLimit / kMiB || megabytes > kMostMegabytes) {
      return Expected(key, value, "a whole number of MiB above 20");
    }
    out.max_split_size = Bytes(megabytes * kMiB);
  } else if (key == "roundup_power2_divisions") {
    if (!ParseAll(value, out.roundup_power2_divisions) || out.roundup_power2_divisions < 1 ||
        !std::has_single_bit(static_cast<std::uint64_t>(out.roundup_power2_divisions))) {
      return Expected(key, value, "a power of two (lists by size are not simulated)");
    }
  } else if (key == "garbage_collection_threshold") {
    double& threshold = out.garbage_collection_threshold;
    if (!ParseAll(value, threshold) || !(threshold > 0 && threshold < 1)) {
      return Expected(key, value, "a number between 0 and 1");
    }
  } else if (value == "True" || value == "False") {
    out.expandable_segments = value == "True";
  } else {
    return Expected(key, value, "True or False");
  }
  return OkStatus();
}

}  // namespace

Result<CachingAllocatorSettings> CachingAllocatorSettings::Parse(std::string_view text) {
  CachingAllocatorSettings out;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    STOWAGE_RETURN_IF_ERROR(ParseOption(text.substr(0, comma), out));
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return out;
}

std::int64_t CachingAllocator::RoundedRequest(std::int64_t size) const {
  const std::int64_t divisions = settings_.roundup_power2_divisions;
  if (divisions < 2 || size <= kMinBlock * divisions) return std::max(kMinBlock, Up(size, kMinBlock));
  const auto floor = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(size)));
  return Up(size, floor / divisions);
}

bool CachingAllocator::IsOversize(std::int64_t size) const {
  return settings_.max_split_size && size >= settings_.max_split_size->value();
}

// The best fit, as far as the settings allow it.
CachingAllocator::BlockId CachingAllocator::TakeFree(std::int64_t rounded, std::int32_t pool) {
  ++searches_[static_cast<std::size_t>(pool)];
  if (!settings_.max_split_size && !settings_.expandable_segments) return pools_[pool].TakeBestFit(rounded);
  // Of a block before unmapped addresses the size that it could grow to counts: others are used up first.
  const auto grown = [&](BlockId id) {
    const BlockId next = blocks_[id].next;
    return blocks_[id].size + (next != kNoBlock && blocks_[next].unmapped ? blocks_[next].size : 0);
  };
  BlockId best = kNoBlock;
  bool settled = false;
  pools_[pool].ForEach([&](const FreeBlocks::Entry& entry) {
    if (entry.size < rounded || settled) return;
    settled = best != kNoBlock && !(blocks_[best].expandable && grown(entry.block) < grown(best));
    if (!settled) best = entry.block;
  });
  if (best == kNoBlock) return kNoBlock;
  const std::int64_t size = blocks_[best].size;
  if (IsOversize(size) && (!IsOversize(rounded) || size >= rounded + kOversizeLoss)) return kNoBlock;
  pools_[pool].Erase(size, blocks_[best].address);
  return best;
}

// `first` and the block behind it become one, `first`.
CachingAllocator::BlockId CachingAllocator::MergeWith(BlockId first, BlockId second) {
  Block& block = blocks_[first];
  block.size += blocks_[second].size;
  block.next = blocks_[second].next;
  if (block.next != kNoBlock) blocks_[block.next].prev = first;
  spare_.push_back(second);
  return first;
}

// The lowest place in the pool's addresses with room for it: free blocks and unmapped ones in a row. A new range of
// addresses if there is none, somewhat larger than the device.
CachingAllocator::BlockId CachingAllocator::FindExpandable(std::int64_t rounded, std::int32_t pool) {
  for (const BlockId range : expandable_[pool]) {
    for (BlockId id = range; id != kNoBlock; id = blocks_[id].next) {
      if (!blocks_[id].unmapped) continue;
      const BlockId prev = blocks_[id].prev;
      const BlockId begin = prev != kNoBlock && !blocks_[prev].used ? prev : id;
      std::int64_t room = 0;
      for (BlockId at = begin; at != kNoBlock && !blocks_[at].used && room < rounded; at = blocks_[at].next) {
        room += blocks_[at].size;
      }
      if (room >= rounded) return begin;
    }
  }
  const std::int64_t most = std::min(limit_.value(), std::int64_t{1} << 56);
  const BlockId id = NewBlock();
  Block& block = blocks_[id];
  next_address_ = Up(next_address_, PageSize(0));
  block.address = next_address_;
  block.size = Up(std::max(most + most / 8, rounded), PageSize(0));
  block.pool = pool;
  block.unmapped = block.expandable = true;
  next_address_ += block.size;
  expandable_[pool].push_back(id);
  return id;
}

// Puts memory behind the first bytes of an unmapped block, whole pages, and makes it free. kNoBlock: there is none left.
CachingAllocator::BlockId CachingAllocator::MapBlock(BlockId id, std::int64_t bytes) {
  const std::int32_t pool = blocks_[id].pool;
  const std::int64_t mapped = Up(bytes, PageSize(pool));
  if (reserved_ + Bytes(mapped) > limit_) return kNoBlock;
  if (mapped < blocks_[id].size) blocks_[SplitOff(id, mapped)].unmapped = true;
  blocks_[id].unmapped = false;
  reserved_ += Bytes(mapped);
  device_mallocs_ += mapped / PageSize(pool);
  const auto joins = [&](BlockId other) {
    return other != kNoBlock && !blocks_[other].used && !blocks_[other].unmapped;
  };
  if (const BlockId next = blocks_[id].next; joins(next)) {
    pools_[pool].Erase(blocks_[next].size, blocks_[next].address);
    MergeWith(id, next);
  }
  if (const BlockId prev = blocks_[id].prev; joins(prev)) {
    pools_[pool].Erase(blocks_[prev].size, blocks_[prev].address);
    id = MergeWith(prev, id);
  }
  AddFree(id);
  return id;
}

CachingAllocator::BlockId CachingAllocator::TakeExpandable(std::int64_t rounded, std::int32_t pool) {
  BlockId id = FindExpandable(rounded, pool);
  if (blocks_[id].unmapped) id = MapBlock(id, std::min(blocks_[id].size, rounded));
  while (id != kNoBlock && blocks_[id].size < rounded) {
    const BlockId next = blocks_[id].next;
    STOWAGE_CHECK(next != kNoBlock && blocks_[next].unmapped);
    id = MapBlock(next, std::min(blocks_[next].size, rounded - blocks_[id].size));
  }
  if (id != kNoBlock) pools_[pool].Erase(blocks_[id].size, blocks_[id].address);
  return id;
}

// Takes the memory from the whole pages of a free block.
void CachingAllocator::UnmapBlock(BlockId id) {
  const std::int32_t pool = blocks_[id].pool;
  const std::int64_t address = blocks_[id].address, page = PageSize(pool);
  const std::int64_t begin = Up(address, page), end = (address + blocks_[id].size) / page * page;
  if (begin >= end) return;
  pools_[pool].Erase(blocks_[id].size, address);
  if (begin > address) {
    const BlockId rest = SplitOff(id, begin - address);
    AddFree(std::exchange(id, rest));
  }
  if (blocks_[id].size > end - begin) AddFree(SplitOff(id, end - begin));
  blocks_[id].unmapped = true;
  reserved_ -= Bytes(end - begin);
  device_frees_ += (end - begin) / page;
  if (const BlockId next = blocks_[id].next; next != kNoBlock && blocks_[next].unmapped) MergeWith(id, next);
  if (const BlockId prev = blocks_[id].prev; prev != kNoBlock && blocks_[prev].unmapped) MergeWith(prev, id);
}

void CachingAllocator::ReleaseSegment(BlockId id) {
  const Block& block = blocks_[id];
  pools_[block.pool].Erase(block.size, block.address);
  reserved_ -= Bytes(block.size);
  ++device_frees_;
  spare_.push_back(id);
}

// For a request that the device has no room for: one cached oversize block that is as large, or the largest ones until
// they make up for it. Whether that is enough.
bool CachingAllocator::ReleaseOversize(std::int64_t rounded, std::int32_t pool) {
  if (!settings_.max_split_size) return false;
  const std::int64_t wanted = std::max(rounded, settings_.max_split_size->value());
  std::vector<BlockId> oversize;  // by size
  pools_[pool].ForEach([&](const FreeBlocks::Entry& entry) {
    if (IsOversize(entry.size) && !blocks_[entry.block].expandable) oversize.push_back(entry.block);
  });
  const auto enough =
      std::find_if(oversize.begin(), oversize.end(), [&](BlockId id) { return blocks_[id].size >= wanted; });
  if (enough != oversize.end()) {
    ReleaseSegment(*enough);
    return true;
  }
  std::int64_t released = 0;
  for (; released < wanted && !oversize.empty(); oversize.pop_back()) {
    released += blocks_[oversize.back()].size;
    ReleaseSegment(oversize.back());
  }
  return released >= wanted;
}

void CachingAllocator::CollectGarbage() {
  const auto allowed =
      Bytes(static_cast<std::int64_t>(settings_.garbage_collection_threshold * static_cast<double>(limit_.value())));
  if (reserved_ <= allowed) return;
  std::vector<BlockId> idle;
  for (std::size_t pool = 0; pool < pools_.size(); pool += 2) {
    pools_[pool].ForEach([&](const FreeBlocks::Entry& entry) {
      const Block& b = blocks_[entry.block];
      if (b.prev == kNoBlock && b.next == kNoBlock && !b.expandable) idle.push_back(entry.block);
    });
  }
  const auto age = [&](BlockId id) {
    return searches_[static_cast<std::size_t>(blocks_[id].pool)] - blocks_[id].idle_since;
  };
  std::int64_t ages = 0;
  for (const BlockId id : idle) ages += age(id);
  for (bool freed = true; freed && reserved_ > allowed && !idle.empty();) {
    const double average = static_cast<double>(ages) / static_cast<double>(idle.size());
    const auto old = std::stable_partition(idle.begin(), idle.end(),
                                           [&](BlockId id) { return static_cast<double>(age(id)) < average; });
    freed = old != idle.end();
    for (auto it = old; it != idle.end(); ++it) {
      ages -= age(*it);
      ReleaseSegment(*it);
    }
    idle.erase(old, idle.end());
  }
}

}  // namespace stowage

// PyTorch's CUDA caching allocator, replayed: what a list of torch allocations reserves on the device.
//
// The rules (c10/cuda/CUDACachingAllocator.cpp, default settings):
//
//   size      rounded up to 512 B, at least 512 B; a request of nothing takes nothing
//   pools     per stream: small (rounded size <= 1 MiB) and large
//   fit       the smallest free block of that stream and pool that is big enough; of equal ones the lowest address
//   miss      a new segment: 2 MiB in the small pool; in the large one 20 MiB below 10 MiB, else rounded up to 2 MiB
//   split     the rest becomes a free block if it has >= 512 B (small) or > 1 MiB (large); else all is handed out
//   free      merges with free neighbours of the same segment; segments stay until EmptyCache
//   full      when the device refuses a segment, every wholly free segment is given back and the request is tried once
//             more; then it is out of memory, however much is free inside segments in use
//
//   segment 20 MiB   [ 7 MiB used | 13 MiB free ]   a request of 12.5 MiB takes all 13 (rest 0.5 MiB <= 1 MiB)
//
// What PYTORCH_ALLOC_CONF (PYTORCH_CUDA_ALLOC_CONF) changes is in CachingAllocatorSettings.
//
// Not modelled: graph pools, and the driver's choice of addresses: segments get increasing ones here and never an old one
// again, so ties between equal blocks of different segments go to the older segment.
// Long because its two sources share the blocks: caching_allocator.cc, and allocator_settings.cc for what is off by
// default.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

//   max_split_size          blocks of this size and more are neither split nor given to smaller requests, and given to
//                           larger ones only if less than 20 MiB are lost; a full device gives those back first
//   roundup_power2_divisions   requests are rounded up to the next of so many steps between powers of two
//   garbage_collection_threshold   before a new segment, while more than this part of the limit is reserved, large wholly
//                           free segments that have not been taken for longer than the average go back
//   expandable_segments     a stream's pool is one range of addresses; pages of 2 MiB (small) or 20 MiB (large) are mapped
//                           behind it as needed and unmapped by EmptyCache wherever they are free. A block is always
//                           split if 512 B remain
struct CachingAllocatorSettings {
  std::optional<Bytes> max_split_size;
  std::int64_t roundup_power2_divisions = 0;  // below 2: off
  double garbage_collection_threshold = 0;    // 0: off
  bool expandable_segments = false;

  // "" is the default. "expandable_segments:True,max_split_size_mb:128", as in PYTORCH_ALLOC_CONF, formerly
  // PYTORCH_CUDA_ALLOC_CONF. kInvalidInput names the key, the value and what is expected.
  static Result<CachingAllocatorSettings> Parse(std::string_view text);
};

class CachingAllocator {
 public:
  using BlockId = std::int32_t;            // valid from Allocate to Free; then it may come again
  static constexpr BlockId kNoBlock = -1;  // of a request of 0 bytes
  using Ticket = std::int64_t;             // a deferred free; 0: none

  // `limit`: bytes of segments that the device can hold (its memory less context and other processes).
  explicit CachingAllocator(Bytes limit, CachingAllocatorSettings settings = {}) : limit_(limit), settings_(settings) {}

  // kOutOfMemory with the sizes that explain it. Nothing is allocated then, but free segments have been given back.
  Result<BlockId> Allocate(Bytes size, std::int32_t stream = 0);

  // Free(kNoBlock) does nothing. A block that other streams have used (RecordStream) is not reusable before they have
  // done the work issued to them so far: the ticket is to be completed then. allocated() falls at once, as in torch.
  Ticket Free(BlockId block);
  // The other streams are done. Unknown tickets (the device has synchronised since) are ignored.
  void Complete(Ticket ticket);
  void RecordStream(BlockId block, std::int32_t stream);  // a block's own stream is ignored
  std::span<const std::int32_t> StreamsOf(BlockId block) const;

  // torch.cuda.empty_cache(): waits for the device if frees are deferred (which completes them), then gives back every
  // segment that is free from end to end.
  void EmptyCache();

  Bytes limit() const { return limit_; }
  Bytes allocated() const { return allocated_; }  // torch.cuda.memory_allocated(): whole blocks in use
  Bytes requested() const { return requested_; }  // what the blocks in use were asked for
  Bytes reserved() const { return reserved_; }    // torch.cuda.memory_reserved(): segments
  Bytes BlockSize(BlockId block) const { return block == kNoBlock ? Bytes(0) : Bytes(blocks_[block].size); }

  // Calls to the driver so far; both take time, cudaFree also synchronises.
  std::int64_t device_mallocs() const { return device_mallocs_; }
  std::int64_t device_frees() const { return device_frees_; }
  std::int64_t deferred() const { return static_cast<std::int64_t>(pending_.size()); }

  struct BlockInfo {
    std::int64_t address = 0;
    Bytes bytes;
    std::int32_t stream = 0;
    bool small = false;
    bool used = false;  // or its free is deferred; what is not mapped is not listed
    bool segment_begin = false;
    friend bool operator==(const BlockInfo&, const BlockInfo&) = default;
  };
  std::vector<BlockInfo> Snapshot() const;  // by address

 private:
  struct Block {
    std::int64_t address = 0;
    std::int64_t size = 0;
    std::int64_t requested = 0;
    BlockId prev = kNoBlock;  // neighbours in the segment
    BlockId next = kNoBlock;
    std::int32_t pool = 0;        // 2 * stream + (small ? 1 : 0)
    std::int64_t idle_since = 0;  // searches for a block of its pool by then
    bool used = false;
    bool shared = false;    // has an entry in uses_
    bool unmapped = false;  // addresses without memory behind them
    bool expandable = false;
  };

  // The free blocks of one pool, ordered by size, then address; a sorted run per power of two.
  class FreeBlocks {
   public:
    struct Entry {
      std::int64_t size = 0;
      std::int64_t address = 0;
      BlockId block = kNoBlock;
    };
    void Insert(const Entry& entry);
    void Erase(std::int64_t size, std::int64_t address);
    BlockId TakeBestFit(std::int64_t size);  // kNoBlock: none is big enough
    template <class Visit>
    void ForEach(const Visit& visit) const {  // by size, then address
      for (std::uint64_t left = occupied_; left != 0; left &= left - 1) {
        for (const Entry& entry : runs_[static_cast<std::size_t>(std::countr_zero(left))]) visit(entry);
      }
    }

   private:
    std::uint64_t occupied_ = 0;  // bit i: runs_[i] is not empty
    std::array<std::vector<Entry>, 64> runs_;
  };

  struct Uses {
    BlockId block;
    std::vector<std::int32_t> streams;
  };
  struct Pending {
    Ticket ticket;
    BlockId block;
  };

  // allocator_settings.cc
  std::int64_t RoundedRequest(std::int64_t size) const;
  bool IsOversize(std::int64_t size) const;
  BlockId TakeFree(std::int64_t rounded, std::int32_t pool);
  BlockId TakeExpandable(std::int64_t rounded, std::int32_t pool);
  BlockId FindExpandable(std::int64_t rounded, std::int32_t pool);
  BlockId MapBlock(BlockId block, std::int64_t bytes);
  void UnmapBlock(BlockId block);
  BlockId MergeWith(BlockId block, BlockId neighbour);
  BlockId SplitOff(BlockId block, std::int64_t bytes);
  bool ReleaseOversize(std::int64_t rounded, std::int32_t pool);
  void CollectGarbage();
  void ReleaseSegment(BlockId block);

  BlockId NewBlock();
  BlockId NewSegment(std::int64_t rounded, std::int32_t pool);
  bool ReleaseFreeSegments();
  void Reclaim(BlockId block);
  void CompleteAll();
  void AddFree(BlockId block);
  Error OutOfMemory(Bytes size, std::int64_t rounded, std::int32_t stream) const;

  Bytes limit_;
  CachingAllocatorSettings settings_;
  std::vector<std::int64_t> searches_;                       // by Block::pool
  std::map<std::int32_t, std::vector<BlockId>> expandable_;  // by Block::pool: the first block of each range
  Bytes allocated_, requested_, reserved_;
  std::int64_t next_address_ = 0;
  std::int64_t device_mallocs_ = 0, device_frees_ = 0;
  Ticket last_ticket_ = 0;
  std::vector<Block> blocks_;
  std::vector<BlockId> spare_;     // ids not in use
  std::vector<FreeBlocks> pools_;  // by Block::pool
  std::vector<Uses> uses_;         // few: only blocks of offload code that copies on a stream of its own
  std::vector<Pending> pending_;   // by ticket
};

}  // namespace stowage

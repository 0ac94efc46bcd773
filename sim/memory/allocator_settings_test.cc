// What PYTORCH_ALLOC_CONF changes, rule by rule; and that blocks stay sound under random use whatever is set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "sim/memory/caching_allocator.h"

namespace stowage {
namespace {

using BlockId = CachingAllocator::BlockId;
using testing::HasSubstr;

constexpr std::int64_t kMiB = 1 << 20;
constexpr Bytes kPlenty(std::int64_t{1} << 40);

Bytes MiB(double n) { return Bytes(static_cast<std::int64_t>(n * static_cast<double>(kMiB))); }

CachingAllocator Make(const char* settings, Bytes limit = kPlenty) {
  const Result<CachingAllocatorSettings> parsed = CachingAllocatorSettings::Parse(settings);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return CachingAllocator(limit, *parsed);
}

BlockId Take(CachingAllocator& allocator, Bytes size, std::int32_t stream = 0) {
  const Result<BlockId> block = allocator.Allocate(size, stream);
  EXPECT_TRUE(block.ok()) << block.error().message;
  return block.ok() ? *block : CachingAllocator::kNoBlock;
}

TEST(AllocatorSettings, ParsesTheVariable) {
  const CachingAllocatorSettings all = *CachingAllocatorSettings::Parse(
      "max_split_size_mb:128,roundup_power2_divisions:4,garbage_collection_threshold:0.8,expandable_segments:True");
  EXPECT_EQ(all.max_split_size, MiB(128));
  EXPECT_EQ(all.roundup_power2_divisions, 4);
  EXPECT_EQ(all.garbage_collection_threshold, 0.8);
  EXPECT_TRUE(all.expandable_segments);
}

TEST(AllocatorSettings, NamesTheKeyTheValueAndWhatIsExpected) {
  const auto refusal = [](const char* text) {
    const auto parsed = CachingAllocatorSettings::Parse(text);
    return parsed ? "" : parsed.error().message;
  };
  constexpr const char* kSize = "' is not a whole number of MiB above 20";
  for (const char* bad : {"20", "x", "", "-1", "99999999999999", "9223372036854775807"}) {
    EXPECT_EQ(refusal((std::string("max_split_size_mb:") + bad).c_str()),
              std::string("max_split_size_mb: '") + bad + kSize);
  }
  EXPECT_EQ(refusal("expandable_segments:True,roundup_power2_divisions:3"),
            "roundup_power2_divisions: '3' is not a power of two (lists by size are not simulated)");
  EXPECT_EQ(refusal("roundup_power2_divisions:[256:1,512:2]"),
            "roundup_power2_divisions: '[256:1' is not a power of two (lists by size are not simulated)");
  EXPECT_EQ(refusal("garbage_collection_threshold:1"),
            "garbage_collection_threshold: '1' is not a number between 0 and 1");
  EXPECT_EQ(refusal("expandable_segments:yes"), "expandable_segments: 'yes' is not True or False");
  constexpr const char* kKnown =
      "; these are: expandable_segments, garbage_collection_threshold, max_split_size_mb, roundup_power2_divisions";
  EXPECT_EQ(refusal("expandable_segment:True"),
            std::string("key 'expandable_segment' (value 'True') is not simulated, did you mean expandable_segments") +
                kKnown);
  EXPECT_EQ(refusal("backend:native"), std::string("key 'backend' (value 'native') is not simulated") + kKnown);
}

TEST(AllocatorSettings, DivisionsRoundUpToStepsBetweenPowersOfTwo) {
  CachingAllocator allocator = Make("roundup_power2_divisions:4");
  const auto size = [&](Bytes bytes) { return allocator.BlockSize(Take(allocator, bytes)); };
  EXPECT_EQ(size(Bytes(1200)), Bytes(1536));  // up to 2 KiB as ever
  EXPECT_EQ(size(Bytes(2049)), Bytes(2560));
  EXPECT_EQ(size(Bytes(4096)), Bytes(4096));
  EXPECT_EQ(size(MiB(4.1)), MiB(5));
  EXPECT_EQ(size(MiB(7.5)), MiB(8));
}

TEST(AllocatorSettings, OversizeBlocksAreNotSplitNorGivenToSmallerRequests) {
  CachingAllocator allocator = Make("max_split_size_mb:40");
  allocator.Free(Take(allocator, MiB(100)));
  Take(allocator, MiB(30));  // not out of the 100
  EXPECT_EQ(allocator.reserved(), MiB(130));
  const BlockId large = Take(allocator, MiB(81));  // 19 lost, less than 20: all of it
  EXPECT_EQ(allocator.BlockSize(large), MiB(100));
  allocator.Free(large);
  Take(allocator, MiB(80));  // 20 would be lost
  EXPECT_EQ(allocator.reserved(), MiB(210));
}

TEST(AllocatorSettings, AFullDeviceGivesBackTheOversizeBlockThatSufficesBeforeAllOthers) {
  CachingAllocator allocator = Make("max_split_size_mb:40", MiB(300));
  std::vector<BlockId> blocks;
  for (const double size : {60.0, 90.0, 120.0}) blocks.push_back(Take(allocator, MiB(size)));
  for (const BlockId block : blocks) allocator.Free(block);
  Take(allocator, MiB(42));  // 60 fits with less than 20 lost
  allocator.Free(Take(allocator, MiB(12)));
  EXPECT_EQ(allocator.reserved(), MiB(282));
  Take(allocator, MiB(64));  // neither 90 nor 120 is near enough: 90, the smallest that suffices, goes
  EXPECT_EQ(allocator.reserved(), MiB(60 + 120 + 12 + 64));
  EXPECT_EQ(allocator.device_frees(), 1);
}

TEST(AllocatorSettings, GarbageIsWhatWasNotTakenForLongerThanTheAverage) {
  CachingAllocator allocator = Make("garbage_collection_threshold:0.5", MiB(400));
  const BlockId small = Take(allocator, MiB(100)), large = Take(allocator, MiB(120));
  allocator.Free(small);
  allocator.Free(large);
  for (int i = 0; i < 10; ++i) allocator.Free(Take(allocator, MiB(100)));  // the large one is idle for ten searches
  EXPECT_EQ(allocator.device_frees(), 0);
  Take(allocator, MiB(130));  // 220 are reserved, 200 is the threshold
  EXPECT_EQ(allocator.device_frees(), 1);
  EXPECT_EQ(allocator.reserved(), MiB(100 + 130));
}

TEST(AllocatorSettings, ExpandableSegmentsGrowByPages) {
  CachingAllocator allocator = Make("expandable_segments:True");
  Take(allocator, Bytes(512));
  EXPECT_EQ(allocator.reserved(), MiB(2));
  Take(allocator, MiB(1.5));
  EXPECT_EQ(allocator.reserved(), MiB(22));
  Take(allocator, MiB(18));  // behind it
  EXPECT_EQ(allocator.reserved(), MiB(22));
  const BlockId large = Take(allocator, MiB(100));  // 0.5 are left, five pages more
  EXPECT_EQ(allocator.reserved(), MiB(122));
  EXPECT_EQ(allocator.BlockSize(large), MiB(100));
  Take(allocator, MiB(1.5), 1);  // another stream's range
  EXPECT_EQ(allocator.reserved(), MiB(142));
}

// Growing tensors are what the setting is for: each reuses the one before it.
TEST(AllocatorSettings, ExpandableSegmentsDoNotKeepABlockForEverySize) {
  const auto reserved = [](const char* settings) {
    CachingAllocator allocator = Make(settings);
    for (int i = 1; i <= 20; ++i) allocator.Free(Take(allocator, MiB(30.0 * i)));
    return allocator.reserved();
  };
  EXPECT_EQ(reserved(""), MiB(30 * 210));
  EXPECT_EQ(reserved("expandable_segments:True"), MiB(600));
}

TEST(AllocatorSettings, ExpandableSegmentsGiveBackFreePagesBetweenUsedOnes) {
  CachingAllocator allocator = Make("expandable_segments:True");
  Take(allocator, MiB(10));
  const BlockId middle = Take(allocator, MiB(100));
  Take(allocator, MiB(10));
  EXPECT_EQ(allocator.reserved(), MiB(120));
  allocator.Free(middle);
  allocator.EmptyCache();  // 10 to 110 are free: the pages of 20 to 100
  EXPECT_EQ(allocator.reserved(), MiB(40));
  Take(allocator, MiB(100));  // the addresses are still there
  EXPECT_EQ(allocator.reserved(), MiB(120));
}

TEST(AllocatorSettings, ExpandableSegmentsRunOutOfMemoryByPages) {
  CachingAllocator allocator = Make("expandable_segments:True", MiB(100));
  const BlockId first = Take(allocator, MiB(61));  // 80
  EXPECT_FALSE(allocator.Allocate(MiB(40)).ok());  // 19 are left of the fourth page, one page more would do for 39
  Take(allocator, MiB(39));
  EXPECT_EQ(allocator.reserved(), MiB(100));
  allocator.Free(first);
  Take(allocator, MiB(61));
  EXPECT_EQ(allocator.reserved(), MiB(100));
}

// Blocks lie side by side, add up, and what is free goes back when all is.
void ExpectSound(const CachingAllocator& allocator) {
  Bytes used, all;
  std::int64_t end = 0;
  for (const CachingAllocator::BlockInfo& info : allocator.Snapshot()) {
    ASSERT_GE(info.address, end);
    ASSERT_GT(info.bytes, Bytes(0));
    end = info.address + info.bytes.value();
    all += info.bytes;
    if (info.used) used += info.bytes;
  }
  ASSERT_EQ(all, allocator.reserved());
  ASSERT_EQ(used, allocator.allocated());
  ASSERT_LE(all, allocator.limit());
}

TEST(AllocatorSettings, BlocksStaySoundWhateverIsSet) {
  for (const char* settings : {"", "max_split_size_mb:24", "expandable_segments:True", "roundup_power2_divisions:8",
                               "garbage_collection_threshold:0.3",
                               "expandable_segments:True,max_split_size_mb:30,garbage_collection_threshold:0.5",
                               "max_split_size_mb:21,roundup_power2_divisions:2"}) {
    std::mt19937 random(7);
    CachingAllocator allocator = Make(settings, MiB(600));
    std::vector<BlockId> held;
    for (int i = 0; i < 3000; ++i) {
      if (random() % 5 < 3 || held.empty()) {
        const Bytes size(static_cast<std::int64_t>(random() % (std::uint32_t{1} << (10 + random() % 18))) + 1);
        const auto block = allocator.Allocate(size, static_cast<std::int32_t>(random() % 2));
        if (block.ok()) held.push_back(*block);
      } else {
        const std::size_t victim = random() % held.size();
        allocator.Free(held[victim]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(victim));
      }
      if (random() % 50 == 0) allocator.EmptyCache();
      if (i % 10 == 0) ExpectSound(allocator);
    }
    for (const BlockId block : held) allocator.Free(block);
    allocator.EmptyCache();
    EXPECT_EQ(allocator.reserved(), Bytes(0)) << settings;
    EXPECT_EQ(allocator.allocated(), Bytes(0)) << settings;
  }
}

}  // namespace
}  // namespace stowage

// Torch pools through Simulate: what is reserved, what the driver's calls cost, where memory runs out.
#include <gtest/gtest.h>

#include "planner/schedule/builder.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

constexpr Bytes MiB(double n) { return Bytes(static_cast<std::int64_t>(n * (1 << 20))); }

Machine TinyMachine() {
  Machine machine;
  machine.pools = {{.name = "gpu0", .kind = PoolKind::kGpu, .budget = MiB(100), .pinned_limit = {}}};
  machine.dispatch.device_malloc = Seconds(1);
  machine.dispatch.device_free = Seconds(10);
  return machine;
}

// A torch program of one phase on a device that has 100 MiB.
struct Program {
  ScheduleBuilder b{"program"};
  std::int32_t gpu = b.AddPool("gpu0", Allocator::kTorchCaching, MiB(100));

  Program() {
    b.AddIssuer("python", IssuerKind::kTorch);
    b.BeginPhase("run", {});
    b.BeginPrologue(0);
  }
  BufferId Take(std::string name, Bytes bytes) {
    const BufferId id = b.AddBuffer(gpu, std::move(name), BufferKind::kActivations, bytes);
    b.Allocate(id);
    return id;
  }
  Timeline Run() && {
    Result<Timeline> timeline = Simulate(std::move(b).Take(), TinyMachine());
    EXPECT_TRUE(timeline.ok()) << timeline.error().message;
    return *std::move(timeline);
  }
};

TEST(CachingBlocksTest, APoolUsesSegmentsAndTheRestIsFragmentation) {
  Program p;
  p.Take("x", MiB(1.5));
  const Timeline t = std::move(p).Run();
  EXPECT_EQ(t.torch->allocated_peak, MiB(1.5));
  EXPECT_EQ(t.torch->reserved_peak, MiB(20));
  ASSERT_EQ(t.pools.size(), 1u);
  EXPECT_EQ(t.pools[0].peak.bytes, MiB(20));
  Bytes fragmentation;
  for (const PeakBuffer& line : t.pools[0].peak.buffers) {
    if (line.kind == "fragmentation") fragmentation += line.bytes;
  }
  EXPECT_EQ(fragmentation, MiB(18.5));
}

TEST(CachingBlocksTest, SegmentsCostTheDriversTime) {
  Program p;
  const BufferId first = p.Take("first", MiB(30));
  p.b.Free(first);
  p.Take("again", MiB(30));  // from the cache
  EXPECT_EQ(std::move(p).Run().phases[0].seconds, Seconds(1));
  Program q;
  q.b.Free(q.Take("first", MiB(30)));
  q.b.EmptyCache(q.gpu);
  q.Take("again", MiB(30));
  EXPECT_EQ(std::move(q).Run().phases[0].seconds, Seconds(12));
}

TEST(CachingBlocksTest, ARunAtOtherRatesRepeatsWhatTheAllocatorDid) {
  Program p;
  p.b.Free(p.Take("first", MiB(30)));
  p.Take("larger", MiB(50));
  p.b.EmptyCache(p.gpu);
  const Schedule schedule = std::move(p.b).Take();
  AllocatorActs acts;
  ASSERT_TRUE(Simulate(schedule, TinyMachine(), {.record_acts = &acts}));
  ASSERT_TRUE(acts.repeat);
  Machine other = TinyMachine();
  other.dispatch.device_malloc = Seconds(3);
  other.dispatch.device_free = Seconds(700);
  other.reservations = {{"gpu0", "CUDA context", Bytes(512)}};
  const Result<Timeline> times = SimulateTimes(schedule, other, acts), whole = Simulate(schedule, other);
  ASSERT_TRUE(times && whole);
  EXPECT_EQ(times->length, Seconds(706));
  EXPECT_EQ(times->length, whole->length);
  EXPECT_EQ(times->pools[0].peak.bytes, whole->pools[0].peak.bytes);
}

TEST(CachingBlocksTest, ARunWhoseMemoryWaitsForOtherStreamsIsSimulatedAgain) {
  Program p;
  const std::int32_t side = p.b.AddQueue("gpu0/side");
  const BufferId lent = p.Take("lent", MiB(30));
  p.b.RecordStream(lent, side);
  p.b.Free(lent);
  const Schedule schedule = std::move(p.b).Take();
  AllocatorActs acts;
  ASSERT_TRUE(Simulate(schedule, TinyMachine(), {.record_acts = &acts}));
  EXPECT_FALSE(acts.repeat);
  const Result<Timeline> again = SimulateTimes(schedule, TinyMachine(), acts);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->length, Seconds(1));
  EXPECT_EQ(again->pools[0].peak.bytes, MiB(30));
}

TEST(CachingBlocksTest, MemoryRunsOutAtAStepWithItsName) {
  Program p;
  p.Take("large", MiB(60));
  p.Take("small", MiB(1.5));
  p.Take("too much", MiB(30));
  const Timeline t = std::move(p).Run();
  ASSERT_TRUE(t.out_of_memory.has_value());
  EXPECT_EQ(t.out_of_memory->step, "allocate too much");
  EXPECT_EQ(t.out_of_memory->requested, MiB(30));
  EXPECT_EQ(t.out_of_memory->available, MiB(20));
}

}  // namespace
}  // namespace stowage

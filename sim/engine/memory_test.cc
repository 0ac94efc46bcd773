#include <gtest/gtest.h>

#include <string>

#include "planner/base/text.h"
#include "sim/engine/engine.h"
#include "sim/engine/toy_schedule.h"

namespace stowage {
namespace {

std::string Text(const PoolTimeline& pool) {
  std::string out = pool.pool + " " + std::to_string(pool.peak.bytes.value()) + " of " +
                    std::to_string(pool.budget.value()) + " at " + std::to_string(pool.peak.at.value()) + " " +
                    pool.peak.step + " (" + pool.peak.phase + ")\n";
  for (const PeakBuffer& b : pool.peak.buffers) {
    out += "  " + b.name + " " + b.kind + " " + std::to_string(b.bytes.value()) + "\n";
  }
  return out;
}

struct Toy : ToySchedule {
  BufferId Root(std::string name, std::int32_t pool, BufferKind kind, AffineBytes bytes) {
    return AddBuffer({.name = std::move(name), .pool = pool, .kind = kind, .bytes = bytes});
  }
  BufferId Part(std::string name, BufferId parent, BufferKind kind, std::int64_t bytes, std::int64_t offset) {
    Buffer part{
        .name = std::move(name), .kind = kind, .bytes = AffineBytes(bytes), .parent = parent, .offset = Bytes(offset)};
    part.pool = schedule.buffers[static_cast<std::size_t>(parent)].pool;
    return AddBuffer(part);
  }
};

TEST(Memory, APeakIsAttributedToThePartsOfItsArenas) {
  Toy b;
  const auto gpu = b.Pool("gpu0", Bytes(1000));
  const auto weights = b.Root("weights", gpu, BufferKind::kWeights, 500);
  b.Part("w1", weights, BufferKind::kWeights, 100, 256);
  b.Part("w0", weights, BufferKind::kWeights, 200, 0);
  const auto activations = b.Root("activations", gpu, BufferKind::kActivations, 300);
  b.Part("x", activations, BufferKind::kActivations, 200, 0);
  b.Part("y", activations, BufferKind::kActivations, 200, 100);  // takes turns with x
  b.Phase("load");
  b.Act(StepKind::kAllocate, weights);
  b.Compute("gpu0/compute", 1);
  b.Act(StepKind::kAllocate, activations);
  b.dispatch.native_launch = Seconds(2);
  Machine machine = b.machine();
  machine.pools = {{"gpu0", PoolKind::kGpu, Bytes(1050), {}}};
  machine.reservations = {{"gpu0", "CUDA context", Bytes(50), Origin::kAssumed, ""}};
  const auto t = Simulate(b.schedule, machine);
  ASSERT_TRUE(t);
  EXPECT_EQ(Text(t->pools[0]),
            "gpu0 850 of 1050 at 2.000000 allocate activations (load)\n"
            "  activations activations 300\n"
            "  w0 weights 200\n"
            "  weights (unused) weights 200\n"
            "  w1 weights 100\n"
            "  CUDA context context 50\n");
}

TEST(Memory, TheFirstHighestInstantCountsWithWhatWasAliveAtIt) {
  Toy b;
  const auto gpu = b.Pool("gpu0", Bytes(1000));
  const auto a = b.Root("a", gpu, BufferKind::kActivations, 400);
  const auto c = b.Root("c", gpu, BufferKind::kActivations, 300);
  const auto d = b.Root("d", gpu, BufferKind::kActivations, 600);
  const auto e = b.Root("e", gpu, BufferKind::kActivations, 100);
  b.Phase("run");
  b.Act(StepKind::kAllocate, a);
  b.Act(StepKind::kAllocate, c);  // 700
  b.Act(StepKind::kFree, a);
  b.Act(StepKind::kAllocate, d);  // 900
  b.Act(StepKind::kFree, c);
  b.Act(StepKind::kAllocate, e);  // 700
  b.Act(StepKind::kFree, d);
  const auto t = Simulate(b.schedule, b.machine(), {.record_curves = true});
  ASSERT_TRUE(t);
  EXPECT_EQ(Text(t->pools[0]),
            "gpu0 900 of 1000 at 0.000000 allocate d (run)\n"
            "  d activations 600\n"
            "  c activations 300\n");
  ASSERT_FALSE(t->pools[0].curve.empty());
  EXPECT_EQ(t->pools[0].curve.back().bytes.value(), 100);
}

TEST(Memory, AStorageGrowsWithTheIteration) {
  Toy b;
  const auto gpu = b.Pool("gpu0", Bytes(1000));
  const auto kv = b.Root("kv", gpu, BufferKind::kKv, AffineBytes(100, 20));
  b.Phase("decode", 4);
  b.Act(StepKind::kAllocate, kv);
  b.Act(StepKind::kFree, kv);
  const auto t = Simulate(b.schedule, b.machine());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->pools[0].peak.bytes.value(), 160);
}

TEST(Memory, InitialBuffersCountButFilesDoNot) {
  Toy b;
  const auto host = b.Pool("host", Bytes(0), Allocator::kPageable);
  const auto disk = b.Pool("disk", Bytes(0), Allocator::kPageable);
  b.AddBuffer({.name = "masters", .pool = host, .bytes = 640, .pinned = true, .initial = true});
  b.AddBuffer({.name = "file", .pool = disk, .bytes = 9999, .initial = true, .file = 0});
  b.Compute("gpu0/compute", 1);
  const auto t = Simulate(b.schedule, b.machine());
  ASSERT_TRUE(t);
  ASSERT_EQ(t->pools.size(), 1u);
  EXPECT_EQ(Text(t->pools[0]), "host 640 of 0 at 0.000000 start (run)\n  masters activations 640\n");
}

TEST(Memory, WhatDoesNotFitEndsTheRunAndSaysWhere) {
  Toy b;
  const auto gpu = b.Pool("gpu0", Bytes(100));
  const auto fits = b.Root("fits", gpu, BufferKind::kWeights, 60);
  const auto large = b.Root("large", gpu, BufferKind::kWeights, 50);
  b.Phase("load");
  b.Act(StepKind::kAllocate, fits);
  b.Compute("gpu0/compute", 3);
  b.Phase("prefill");
  b.Act(StepKind::kAllocate, large);
  b.Compute("gpu0/compute", 5);
  for (const bool events : {false, true}) {
    const auto t = Simulate(b.schedule, b.machine(), {.force_event_loop = events});
    ASSERT_TRUE(t);
    ASSERT_TRUE(t->out_of_memory);
    EXPECT_EQ(t->out_of_memory->pool, "gpu0");
    EXPECT_EQ(t->out_of_memory->step, "allocate large");
    EXPECT_EQ(t->out_of_memory->phase, "prefill");
    EXPECT_EQ(t->out_of_memory->requested.value(), 50);
    EXPECT_EQ(t->out_of_memory->available.value(), 40);
    EXPECT_EQ(t->length.value(), 3);  // what was issued runs to its end
    EXPECT_EQ(t->phases[0].iterations, 1);
    EXPECT_EQ(t->phases[1].iterations, 0);
    EXPECT_EQ(t->pools[0].peak.bytes.value(), 60);
  }
}

TEST(Memory, ATorchPoolGrowsBySegmentsThatCostTimeAndAreFragmentedWhenHalfUsed) {
  Toy b;
  b.schedule.issuers = {{"python", IssuerKind::kTorch}};
  const auto gpu = b.Pool("gpu0", Bytes(64 << 20), Allocator::kTorchCaching);
  const auto x = b.Root("x", gpu, BufferKind::kActivations, 3 << 20);
  const auto y = b.Root("y", gpu, BufferKind::kActivations, 2 << 20);
  b.dispatch.device_malloc = Seconds(2);
  b.dispatch.device_free = Seconds(1);
  b.dispatch.empty_cache = Seconds(0.5);
  b.Phase("run");
  b.Act(StepKind::kAllocate, x);  // a segment of 20 MiB: until 2
  b.Act(StepKind::kAllocate, y);  // beside it
  b.Compute("gpu0/compute", 5);   // 2 to 7
  b.Act(StepKind::kFree, x);
  b.Act(StepKind::kFree, y);
  const StepId empty = b.Act(StepKind::kEmptyCache, -1);
  b.At(empty).pool = gpu;         // waits for the kernel, gives the segment back: until 8
  b.Act(StepKind::kAllocate, x);  // and takes a new one: until 10
  for (const bool events : {false, true}) {
    const auto t = Simulate(b.schedule, b.machine(), {.record_curves = true, .force_event_loop = events});
    ASSERT_TRUE(t);
    EXPECT_EQ(t->length.value(), 10);
    EXPECT_EQ(Text(t->pools[0]),
              "gpu0 20971520 of 67108864 at 2.000000 allocate y (run)\n"
              "  cached or lost to rounding by the allocator fragmentation 15728640\n"
              "  x activations 3145728\n"
              "  y activations 2097152\n");
    ASSERT_TRUE(t->torch);
    EXPECT_EQ(t->torch->allocated_peak.value(), 5 << 20);
    EXPECT_EQ(t->torch->reserved_peak.value(), 20 << 20);
    ASSERT_EQ(t->pools[0].curve.size(), 4u);  // 0, 20 MiB, 0, 20 MiB
  }
}

TEST(Memory, PeaksOfAPhaseLeaveOutWhatLoadingPutThereAndWorkspaces) {
  Toy b;
  b.schedule.issuers = {{"python", IssuerKind::kTorch}};
  const auto gpu = b.Pool("gpu0", Bytes(640 << 20), Allocator::kTorchCaching);
  const auto weights = b.Root("weights", gpu, BufferKind::kWeights, 30 << 20);
  const auto upload = b.Root("upload", gpu, BufferKind::kWeights, 700);
  const auto workspace = b.Root("workspace", gpu, BufferKind::kWorkspace, 4 << 20);
  const auto cache = b.Root("cache", gpu, BufferKind::kKv, 300);
  const auto left = b.Root("left behind", gpu, BufferKind::kActivations, 8);
  b.Phase("load");
  b.schedule.phases.back().body.passes = 0;
  b.Act(StepKind::kAllocate, weights);
  b.Phase("prefill");
  b.Act(StepKind::kAllocate, upload);
  b.Act(StepKind::kAllocate, workspace);
  b.Act(StepKind::kAllocate, cache);
  b.Act(StepKind::kAllocate, left);
  b.Act(StepKind::kFree, upload);
  b.Phase("decode");
  b.Act(StepKind::kFree, cache);
  const auto t = Simulate(b.schedule, b.machine());
  ASSERT_TRUE(t) << t.error().message;
  ASSERT_EQ(t->phases.size(), 3u);
  EXPECT_EQ(t->phases[0].torch->live, Bytes(0));
  EXPECT_EQ(t->phases[0].torch->allocated, Bytes(30 << 20));
  EXPECT_EQ(t->phases[1].torch->live, Bytes(700 + 300 + 8));
  EXPECT_EQ(t->phases[1].torch->allocated, Bytes((34 << 20) + 1024 + 512 + 512));
  EXPECT_EQ(t->phases[1].torch->reserved, Bytes((30 + 2 + 20) << 20));
  EXPECT_EQ(t->phases[2].torch->live, Bytes(300));
  EXPECT_EQ(t->phases[2].torch->allocated, Bytes((34 << 20) + 512 + 512));
}

TEST(Memory, ARecordedBufferIsNotReusedBeforeTheOtherQueueIsDone) {
  Toy b;
  b.schedule.issuers = {{"python", IssuerKind::kTorch}};
  const auto gpu = b.Pool("gpu0", Bytes(1 << 30), Allocator::kTorchCaching);
  const auto x = b.Root("x", gpu, BufferKind::kWeights, 30 << 20);
  const auto y = b.Root("y", gpu, BufferKind::kWeights, 30 << 20);
  const auto z = b.Root("z", gpu, BufferKind::kWeights, 30 << 20);
  b.Phase("run");
  b.Act(StepKind::kAllocate, x);
  const StepId used = b.Compute("gpu0/side", 5);
  const StepId record = b.Act(StepKind::kRecordStream, x);
  b.At(record).queue = b.At(used).queue;
  b.Act(StepKind::kFree, x);
  b.Act(StepKind::kAllocate, y);  // the side queue still reads x
  b.Act(StepKind::kFree, y);
  b.Wait(used);
  b.Act(StepKind::kAllocate, y);
  b.Act(StepKind::kAllocate, z);  // x's place and y's
  for (const bool events : {false, true}) {
    const auto t = Simulate(b.schedule, b.machine(), {.force_event_loop = events});
    ASSERT_TRUE(t);
    EXPECT_EQ(t->torch->reserved_peak.value(), 60 << 20);
    EXPECT_EQ(t->torch->allocated_peak.value(), 60 << 20);
    EXPECT_EQ(t->pools[0].peak.step, "allocate z");
  }
}

TEST(Memory, PinnedMemoryOfTorchTakesPowersOfTwo) {
  Toy b;
  b.Pool("gpu0", Bytes(1 << 30), Allocator::kTorchCaching);
  const auto host = b.Pool("host", Bytes(0), Allocator::kPageable);
  b.AddBuffer({.name = "layer",
               .pool = host,
               .kind = BufferKind::kWeights,
               .bytes = 1'210'318'848,
               .pinned = true,
               .initial = true});
  b.Compute("gpu0/compute", 1);
  const auto t = Simulate(b.schedule, b.machine());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->torch->pinned.value(), 2'147'483'648);
  EXPECT_EQ(t->pools[1].peak.bytes.value(), 2'147'483'648);
}

TEST(Memory, PinnedMemoryOfTorchIsKeptAndReusedByPower) {
  Toy b;
  b.schedule.issuers = {{"python", IssuerKind::kTorch}};
  b.Pool("gpu0", Bytes(1 << 30), Allocator::kTorchCaching);
  const auto host = b.Pool("host", Bytes(40), Allocator::kPageable);
  const auto pinned = [&](const char* name, std::int64_t bytes) {
    const BufferId id = b.Root(name, host, BufferKind::kStaging, bytes);
    b.schedule.buffers[static_cast<std::size_t>(id)].pinned = true;
    return id;
  };
  const auto five = pinned("five", 5);
  const auto seven = pinned("seven", 7);
  const auto nine = pinned("nine", 9);
  const auto pageable = b.Root("pageable", host, BufferKind::kStaging, 10);
  b.Act(StepKind::kAllocate, five);
  b.Act(StepKind::kFree, five);
  b.Act(StepKind::kAllocate, seven);     // in the block of 8 that five left
  b.Act(StepKind::kAllocate, pageable);  // 18
  b.Act(StepKind::kAllocate, nine);      // 34
  b.Act(StepKind::kFree, nine);
  b.Act(StepKind::kAllocate, five);  // 42, although 17 bytes are in use
  const auto t = Simulate(b.schedule, b.machine());
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ(t->torch->pinned.value(), 8 + 16);
  EXPECT_EQ(Text(t->pools[1]),
            "host 34 of 40 at 0.000000 allocate nine (run)\n"
            "  pageable staging 10\n"
            "  nine staging 9\n"
            "  cached or lost to rounding by the allocator fragmentation 8\n"
            "  seven staging 7\n");
  ASSERT_TRUE(t->out_of_memory);
  EXPECT_EQ(t->out_of_memory->step, "allocate five");
}

TEST(Memory, AllocatingTwiceOrFreeingNothingIsRefused) {
  Toy b;
  const auto x = b.Root("x", b.Pool("gpu0", Bytes(100)), BufferKind::kActivations, 1);
  b.Act(StepKind::kFree, x);
  const auto freed = Simulate(b.schedule, b.machine());
  ASSERT_FALSE(freed);
  EXPECT_EQ(freed.error().message, "step 0 'free x': buffer 'x' is not allocated");
  b.At(0).kind = StepKind::kAllocate;
  b.Act(StepKind::kAllocate, x);
  const auto twice = Simulate(b.schedule, b.machine());
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message, "step 1 'allocate x': buffer 'x' is already allocated");
}

}  // namespace
}  // namespace stowage

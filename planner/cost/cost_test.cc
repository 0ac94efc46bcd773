#include "planner/cost/cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "planner/cost/step_cost.h"

namespace stowage {
namespace {

// 100 TFLOPS bf16 at 80 %, 1 TB/s at 50 %, 3 us a launch.
ComputeRate Rate(double smoothness) {
  return {.fp32 = FlopsPerSecond(10e12),
          .bf16 = FlopsPerSecond(100e12),
          .memory = BytesPerSecond(1e12),
          .flops_efficiency = 0.8,
          .memory_efficiency = 0.5,
          .smoothness = smoothness,
          .launch = Seconds(3e-6)};
}

Kernel Work(double flops, std::int64_t bytes) {
  Kernel kernel;
  kernel.flops = {flops, 0};
  kernel.bytes = AffineBytes(bytes);
  return kernel;
}

const TransferRate kLink{.latency = Seconds(10e-6), .pinned = BytesPerSecond(12e9), .pageable = BytesPerSecond(3e9)};

TEST(Cost, AKernelTakesTheSmoothMaximumOfArithmeticAndMemory) {
  // 2.4e11 / 8e13 = 3 ms, 2e9 / 5e11 = 4 ms: sqrt(9 + 16) = 5 ms.
  EXPECT_DOUBLE_EQ(Duration(Work(2.4e11, 2'000'000'000), 0, Rate(2)).value(), 5e-3 + 3e-6);
}

TEST(Cost, SmoothnessOneAddsTheTimesAndALargeOneTakesTheLonger) {
  EXPECT_NEAR(Duration(Work(2.4e11, 2'000'000'000), 0, Rate(1)).value(), 7e-3 + 3e-6, 1e-15);
  EXPECT_NEAR(Duration(Work(2.4e11, 2'000'000'000), 0, Rate(300)).value(), 4e-3 + 3e-6, 1e-15);
}

TEST(Cost, AnEmptyKernelTakesTheLaunch) {
  EXPECT_EQ(Duration(Work(0, 0), 0, Rate(2)).value(), 3e-6);
  EXPECT_EQ(Duration(Work(0, 0), 0, Rate(4)).value(), 3e-6);
}

TEST(Cost, WorkGrowsWithTheIteration) {
  Kernel attention = Work(0, 1'000'000'000);
  attention.bytes.step = 500'000'000;
  EXPECT_DOUBLE_EQ(Duration(attention, 4, Rate(2)).value(), 6e-3 + 3e-6);  // 3e9 / 5e11
}

TEST(Cost, ADtypeWithoutUnitsOfItsOwnRunsAtFp32Speed) {
  Kernel half = Work(8e9, 0);
  half.dtype = DType::kF16;
  EXPECT_DOUBLE_EQ(Duration(half, 0, Rate(2)).value(), 1e-3 + 3e-6);  // 8e9 / (0.8 * 10e12)
}

TEST(Cost, WhatAResourceCannotDoTakesForever) {
  ComputeRate no_units = Rate(2);
  no_units.bf16 = no_units.fp32 = FlopsPerSecond(0);
  EXPECT_TRUE(std::isinf(Duration(Work(1, 0), 0, no_units).value()));
  no_units.smoothness = 3;
  EXPECT_TRUE(std::isinf(Duration(Work(1, 1), 0, no_units).value()));
  EXPECT_TRUE(std::isinf(Duration(Bytes(1), TransferRate{}).value()));
}

TEST(Cost, ATransferPaysLatencyAndThePinnedOrThePageableRate) {
  EXPECT_DOUBLE_EQ(Duration(Bytes(120'000'000), kLink).value(), 10e-3 + 10e-6);
  EXPECT_DOUBLE_EQ(Duration(Bytes(120'000'000), kLink, true).value(), 40e-3 + 10e-6);
}

TEST(Cost, ACopyWithinADeviceReadsAndWritesItsMemory) {
  EXPECT_DOUBLE_EQ(LocalCopyDuration(Bytes(1'000'000'000), Rate(2)).value(), 4e-3 + 3e-6);
}

TEST(Cost, ARingAllReduceOfFourRanksMovesOneAndAHalfTimesTheBytes) {
  // 6 hops of 10 us, 6/4 * 80 MB / 12 GB/s = 10 ms.
  EXPECT_DOUBLE_EQ(AllReduceDuration(Bytes(80'000'000), 4, kLink).value(), 10e-3 + 60e-6);
  EXPECT_EQ(AllReduceDuration(Bytes(80'000'000), 1, kLink).value(), 0);
}

struct Fixture {
  Schedule schedule;
  Machine machine;
  Fixture() {
    machine.name = "two links";
    machine.resources = {{.name = "gpu0.sm", .compute = Rate(2)},
                         {.name = "gpu0.h2d", .transfer = kLink},
                         {.name = "disk0", .transfer = TransferRate{.pinned = BytesPerSecond(2e9)}}};
    schedule.name = "s";
    schedule.resources = {"gpu0.h2d", "disk0", "gpu0.sm"};
  }
};

TEST(StepCost, TheSlowestOfSeveralResourcesCounts) {
  const Fixture f;
  const auto bound = BindResources(f.schedule, f.machine);
  ASSERT_TRUE(bound);
  Step copy{.kind = StepKind::kCopy, .resources = {0, 1, -1}, .writes = {{0, 0, 120'000'000}}};
  EXPECT_DOUBLE_EQ(Duration(f.schedule, copy, 0, *bound, 1).value(), 60e-3);
  copy.expected_bytes = AffineBytes(20'000'000);
  EXPECT_DOUBLE_EQ(Duration(f.schedule, copy, 0, *bound, 1).value(), 10e-3);
  copy.fixed = Seconds(2);
  EXPECT_EQ(Duration(f.schedule, copy, 0, *bound, 1).value(), 2);
}

TEST(StepCost, AnUnknownResourceIsNamed) {
  Fixture f;
  f.schedule.resources.push_back("gpu1.sm");
  const auto bound = BindResources(f.schedule, f.machine);
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().message, "schedule 's' uses resource 'gpu1.sm', which machine 'two links' lacks");
}

TEST(StepCost, ANativeArenaAlsoPaysForItsBytes) {
  const DispatchCost d{.device_malloc = Seconds(4), .populate_gpu = 0.5, .populate_host = 0.25};
  const auto cost = [&](IssuerKind issuer, PoolKind pool) {
    return IssueCost(d, issuer, Step{.kind = StepKind::kAllocate}, pool, Bytes(100)).value();
  };
  EXPECT_EQ(cost(IssuerKind::kNative, PoolKind::kGpu), 54);
  EXPECT_EQ(cost(IssuerKind::kNative, PoolKind::kHost), 25);
  EXPECT_EQ(cost(IssuerKind::kNative, PoolKind::kDisk), 0);
  EXPECT_EQ(cost(IssuerKind::kTorch, PoolKind::kGpu), 0);
}

TEST(StepCost, EachIssuerPaysForWhatItIssues) {
  const DispatchCost d{.native_launch = Seconds(1),
                       .torch_operator = Seconds(2),
                       .torch_hook = Seconds(3),
                       .device_malloc = Seconds(4),
                       .device_free = Seconds(5),
                       .empty_cache = Seconds(6)};
  const auto cost = [&](IssuerKind issuer, StepKind kind, int queue, PoolKind pool) {
    return IssueCost(d, issuer, Step{.kind = kind, .queue = queue}, pool).value();
  };
  EXPECT_EQ(cost(IssuerKind::kNative, StepKind::kCompute, 0, PoolKind::kGpu), 1);
  EXPECT_EQ(cost(IssuerKind::kTorch, StepKind::kCopy, 0, PoolKind::kGpu), 2);
  EXPECT_EQ(cost(IssuerKind::kTorch, StepKind::kCompute, -1, PoolKind::kGpu), 3);
  EXPECT_EQ(cost(IssuerKind::kNative, StepKind::kAllocate, -1, PoolKind::kGpu), 4);
  EXPECT_EQ(cost(IssuerKind::kNative, StepKind::kAllocate, -1, PoolKind::kHost), 0);
  EXPECT_EQ(cost(IssuerKind::kTorch, StepKind::kAllocate, -1, PoolKind::kGpu), 0);
  EXPECT_EQ(cost(IssuerKind::kNative, StepKind::kFree, -1, PoolKind::kGpu), 5);
  EXPECT_EQ(cost(IssuerKind::kTorch, StepKind::kEmptyCache, -1, PoolKind::kGpu), 6);
  EXPECT_EQ(cost(IssuerKind::kTorch, StepKind::kWait, -1, PoolKind::kGpu), 0);
}

}  // namespace
}  // namespace stowage

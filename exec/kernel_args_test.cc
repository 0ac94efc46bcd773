#include "exec/kernel_args.h"

#include <gtest/gtest.h>

namespace stowage {
namespace {

TEST(BindArgs, SaysWhichOperandIsTooSmall) {
  const Kernel kernel{.kind = KernelKind::kLinear,
                      .name = "q_proj",
                      .dtype = DType::kBF16,
                      .rows = 2,
                      .n = 8,
                      .k = 4,
                      .row_begin = 0,
                      .row_end = 8};
  std::byte memory[64];
  KernelCall call{.kernel = &kernel, .read_count = 2, .write_count = 1};
  call.reads[0] = {memory, Bytes(16)};
  call.reads[1] = {memory, Bytes(62)};
  call.writes[0] = {memory, Bytes(32)};
  const auto args = BindArgs(call);
  ASSERT_FALSE(args);
  EXPECT_EQ(args.error().message, "linear 'q_proj': reads[1] (W) needs 64 bytes, the step gives 62");
}

TEST(BindArgs, CountsTheOperands) {
  const Kernel kernel{.kind = KernelKind::kArgmax, .name = "argmax", .dtype = DType::kF32, .rows = 1, .n = 4};
  std::byte memory[64];
  KernelCall call{.kernel = &kernel, .read_count = 2, .write_count = 1};
  call.reads = {DeviceSlice{memory, Bytes(16)}, DeviceSlice{memory, Bytes(16)}};
  call.writes[0] = {memory, Bytes(4)};
  const auto args = BindArgs(call);
  ASSERT_FALSE(args);
  EXPECT_EQ(args.error().message, "argmax 'argmax' takes 1 reads and 1 writes, the step has 2 and 1");
}

TEST(BindArgs, RefusesADtypeWithoutKernels) {
  const Kernel kernel{.kind = KernelKind::kArgmax, .name = "argmax", .dtype = DType::kF8E4M3, .rows = 1, .n = 4};
  const auto args = BindArgs({.kernel = &kernel});
  ASSERT_FALSE(args);
  EXPECT_EQ(args.error().message, "argmax 'argmax': there are no fp8_e4m3 kernels; use fp32, fp16 or bf16");
}

// The step's slices are the new positions; the kernel's pointers are the cache's first position.
TEST(BindArgs, FindsTheCacheFromItsNewPositions) {
  const Kernel kernel{.kind = KernelKind::kRopeCache,
                      .name = "rope",
                      .dtype = DType::kF32,
                      .batch = 1,
                      .tokens = 1,
                      .past = 3,
                      .past_step = 1,
                      .heads = 2,
                      .kv_heads = 1,
                      .head_dim = 2};
  std::byte q[16], kv[8], keys[80], values[80], inv_freq[4];
  KernelCall call{.kernel = &kernel, .iteration = 2, .read_count = 4, .write_count = 3};
  call.reads = {DeviceSlice{q, Bytes(16)}, {kv, Bytes(8)}, {kv, Bytes(8)}, {inv_freq, Bytes(4)}};
  call.writes = {DeviceSlice{q, Bytes(16)}, {keys + 40, Bytes(8)}, {values + 40, Bytes(8)}};
  const auto args = BindArgs(call);
  ASSERT_TRUE(args) << args.error().message;
  const auto& rope = std::get<kernels::RopeCacheArgs>(*args);
  EXPECT_EQ(rope.past, 5);
  EXPECT_EQ(rope.max_positions, 6);
  EXPECT_EQ(rope.k_cache, keys);
  EXPECT_EQ(rope.v_cache, values);
}

}  // namespace
}  // namespace stowage

// Kernels with one mistake each: the emulation must name it. And correct ones, which must run.
#include "kernels/emulation/emulation.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/device.h"

namespace stowage::kernels::emulated {
namespace {

struct Args {
  int* out = nullptr;
  int flag = 0;
};

// The error without its file and line numbers, which change with every edit.
std::string ErrorOf(void (*kernel)(Args), int threads, const Args& args = {}) {
  const int code = Launch(kernel, 1, threads, nullptr, args);
  std::string text = emulation::LastError();
  EXPECT_EQ(code, text.empty() ? kOk : kLaunchFailure);
  for (std::size_t at; (at = text.find(__FILE__)) != std::string::npos;) {
    std::size_t end = at + sizeof(__FILE__);
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
    text.replace(at, end - at, "LINE");
  }
  return text;
}

void Reverse(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  cells[threadIdx.x] = 100 + static_cast<int>(threadIdx.x);
  __syncthreads();
  args.out[blockIdx.x * 64 + threadIdx.x] = cells[63 - threadIdx.x];
}

TEST(Emulation, BarrierMakesSharedMemoryVisibleInEveryBlock) {
  std::vector<int> out(3 * 64);
  ASSERT_EQ(Launch(&Reverse, 3, 64, nullptr, Args{out.data()}), kOk) << emulation::LastError();
  for (int i = 0; i < 3 * 64; ++i) EXPECT_EQ(out[i], 163 - i % 64);
}

void Butterfly(Args args) {
  int sum = static_cast<int>(threadIdx.x);
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
  const int next = __shfl_down_sync(kAllLanes, static_cast<int>(threadIdx.x), 1);
  args.out[threadIdx.x] = sum * 1000 + next;
}

TEST(Emulation, ShufflesExchangeWithinEachWarp) {
  std::vector<int> out(64);
  ASSERT_EQ(ErrorOf(&Butterfly, 64, {out.data()}), "");
  for (int i = 0; i < 64; ++i) {
    const int sum = i < 32 ? 31 * 16 : 31 * 16 + 32 * 32;
    EXPECT_EQ(out[i], sum * 1000 + (i % 32 == 31 ? i : i + 1)) << i;
  }
}

void IndicesOfThreeDimensions(Args args) {
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  args.out[block * 24 + thread] = block * 24 + thread;
}

TEST(Emulation, NumbersThreadsAndBlocksWithXFastest) {
  std::vector<int> out(6 * 24, -1);
  ASSERT_EQ(Launch(&IndicesOfThreeDimensions, dim3(1, 2, 3), dim3(4, 3, 2), nullptr, Args{out.data()}), kOk);
  for (int i = 0; i < 6 * 24; ++i) EXPECT_EQ(out[i], i);
}

void ExitsBeforeTheBarrier(Args) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

TEST(Emulation, ReportsABarrierThatAThreadNeverReaches) {
  EXPECT_EQ(ErrorOf(&ExitsBeforeTheBarrier, 64),
            "__syncthreads at LINE waits for a thread that has exited, block (0, 0, 0), thread 5");
}

void TwoBarriers(Args) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(Emulation, ReportsThreadsAtDifferentBarriers) {
  EXPECT_EQ(ErrorOf(&TwoBarriers, 64), "__syncthreads at LINE meets another one, LINE, block (0, 0, 0), thread 32");
}

void ShuffleWithoutLaneThree(Args args) {
  if (threadIdx.x == 3) return;
  args.out[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1, 16);
}

TEST(Emulation, ReportsAWarpOperationThatNamesAnExitedLane) {
  std::vector<int> out(32);
  EXPECT_EQ(ErrorOf(&ShuffleWithoutLaneThree, 32, {out.data()}),
            "warp operation at LINE names lane 3, which has exited or does not exist, block (0, 0, 0), thread 0");
}

void ShuffleInHalfAWarp(Args args) {
  if (threadIdx.x < 16) args.out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, static_cast<int>(threadIdx.x), args.flag);
}

TEST(Emulation, AllowsAWarpOperationOfSomeLanes) {
  std::vector<int> out(16);
  EXPECT_EQ(ErrorOf(&ShuffleInHalfAWarp, 32, {out.data(), 1}), "");
  EXPECT_EQ(out[6], 7);
}

TEST(Emulation, ReportsAShuffleFromALaneOutsideItsMask) {
  std::vector<int> out(16);
  EXPECT_EQ(ErrorOf(&ShuffleInHalfAWarp, 32, {out.data(), 16}),
            "shuffle at LINE reads lane 16, which its mask leaves out, block (0, 0, 0), thread 0");
}

void ForgetsTheBarrier(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  cells[threadIdx.x] = 1;
  args.out[threadIdx.x] = cells[threadIdx.x ^ 32];
}

void ForgetsTheSecondBarrier(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  cells[threadIdx.x] = 1;
  __syncthreads();
  args.out[threadIdx.x] = cells[threadIdx.x ^ 1];
  cells[threadIdx.x] = 2;
}

void WritesWhatAnotherReads(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  if (threadIdx.x == 1) cells[0] = 1;
  __syncthreads();
  if (threadIdx.x == 0) args.out[0] = cells[0];
  if (threadIdx.x == 1) cells[0] = 2;
}

void ReadsWhatNobodyWrote(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  args.out[threadIdx.x] = cells[threadIdx.x];
}

void WritesBeyondTheEnd(Args) {
  STOWAGE_SHARED(int, cells, 64);
  cells[threadIdx.x + 1] = 1;
}

TEST(Emulation, ReportsMistakesInSharedMemory) {
  std::vector<int> out(64);
  EXPECT_EQ(ErrorOf(&ForgetsTheBarrier, 64, {out.data()}),
            "shared cells[32] is read before it is written, block (0, 0, 0), thread 0");
  EXPECT_EQ(ErrorOf(&ForgetsTheSecondBarrier, 64, {out.data()}),
            "shared cells[0] is read without a barrier after thread 0 wrote it, block (0, 0, 0), thread 1");
  EXPECT_EQ(ErrorOf(&WritesWhatAnotherReads, 64, {out.data()}),
            "shared cells[0] is written without a barrier after thread 0 used it, block (0, 0, 0), thread 1");
  EXPECT_EQ(ErrorOf(&ReadsWhatNobodyWrote, 64, {out.data()}),
            "shared cells[0] is read before it is written, block (0, 0, 0), thread 0");
  EXPECT_EQ(ErrorOf(&WritesBeyondTheEnd, 64, {out.data()}),
            "shared cells[64] is outside its 64 elements, block (0, 0, 0), thread 63");
}

void ReadsBackwardsWithoutABarrier(Args args) {
  STOWAGE_SHARED(int, cells, 64);
  cells[threadIdx.x] = 1;
  if (threadIdx.x > 0) args.out[threadIdx.x] = cells[threadIdx.x - 1];
}

TEST(Emulation, ReportsAReadThatOnlyTheOrderOfFibersMadeRight) {
  std::vector<int> out(64);
  EXPECT_EQ(ErrorOf(&ReadsBackwardsWithoutABarrier, 64, {out.data()}),
            "shared cells[0] is read without a barrier after thread 0 wrote it, block (0, 0, 0), thread 1");
}

TEST(Emulation, RunsAgainAfterAFailure) {
  std::vector<int> out(64);
  EXPECT_NE(ErrorOf(&ExitsBeforeTheBarrier, 64), "");
  EXPECT_EQ(ErrorOf(&Reverse, 64, {out.data()}), "");
  EXPECT_EQ(out[0], 163);
}

TEST(Emulation, RefusesSizesThatNoGpuTakes) {
  std::vector<int> out(64);
  EXPECT_EQ(Launch(&Reverse, 1, 1025, nullptr, Args{out.data()}), kInvalidValue);
  EXPECT_EQ(Launch(&Reverse, 0, 64, nullptr, Args{out.data()}), kInvalidValue);
  EXPECT_EQ(Launch(&Reverse, dim3(1, 65536), 64, nullptr, Args{out.data()}), kInvalidValue);
}

}  // namespace
}  // namespace stowage::kernels::emulated

// The CUDA execution model on the CPU, for the same .cu source: blocks run one after the other, the threads of a block
// are fibers, so barriers and warp operations really synchronise. Used through kernels/device.h.
//
// What it reports as an error (the launch returns kLaunchFailure, LastError() says more) and a GPU would not:
//  - a barrier that some thread of the block never reaches, or reached at another source line
//  - a warp operation whose mask names a lane that exited, or that lanes reach with different masks or lines
//  - shared memory: an index outside the array; an element read before it was written in this block; an element written
//    by one thread and read or written by another without a barrier between (only the last reader is remembered)
//
// It is slower than a GPU by many orders of magnitude, and says nothing about performance or about races in global
// memory. State is per OS thread: launches on different OS threads do not disturb each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

namespace stowage::kernels::emulation {

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxThreadsPerBlock = 1024;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  // NOLINTNEXTLINE(google-explicit-constructor): a number is a size, as CUDA's dim3
  Dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1) : x(width), y(height), z(depth) {}
};

// Runs `body` as every thread of every block. kOk, kInvalidValue for impossible sizes, or kLaunchFailure.
int Launch(Dim3 grid, Dim3 block, const std::function<void()>& body);

// The error of the last failed Launch of this OS thread: "rms_norm.cu:41: …, block 3, thread 17"; empty if none failed.
const std::string& LastError();

// --- for the code of a kernel, while it runs ---

struct Indices {
  Dim3 thread, block, block_size, grid_size;
};
const Indices& Current();

void SyncThreads(const char* file, int line);
void SyncWarp(std::uint32_t mask, const char* file, int line);

// The 8-byte word that lane `from` passed to this operation; all lanes of `mask` must call it together.
std::uint64_t Shuffle(std::uint32_t mask, std::uint64_t word, int from, const char* file, int line);

template <class T>
T ShuffleFrom(std::uint32_t mask, T value, int from, const char* file, int line) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  word = Shuffle(mask, word, from, file, line);
  std::memcpy(&value, &word, sizeof value);
  return value;
}

int Lane();

template <class T>
T ShuffleXor(std::uint32_t mask, T value, int lanes, const char* file, int line) {
  return ShuffleFrom(mask, value, Lane() ^ lanes, file, line);
}

// A lane that would read past the last one gets its own value.
template <class T>
T ShuffleDown(std::uint32_t mask, T value, int lanes, const char* file, int line) {
  return ShuffleFrom(mask, value, Lane() + lanes < kWarpSize ? Lane() + lanes : Lane(), file, line);
}

// Ends the launch with an error; does not return.
[[noreturn]] void Fail(const std::string& what);

// Order of accesses to shared memory: who did it, and in which interval between barriers.
struct Access {
  std::int32_t thread = -1;
  std::uint32_t block_epoch = 0;  // barriers passed by the block
  std::uint32_t warp_epoch = 0;   // warp operations passed by the thread's warp
};
Access Now();
bool Ordered(const Access& earlier, const Access& now);  // the same thread, or a barrier lies between

// Changes with every block of every launch of this OS thread; never 0.
std::uint64_t BlockSerial();

}  // namespace stowage::kernels::emulation

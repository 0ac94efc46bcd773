// Pairs of Allocate and Free a second. The engine replays hundreds of them per token, thousands of tokens per run, many
// candidates per plan: 10 million pairs a second is the aim.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "sim/memory/caching_allocator.h"

namespace stowage {
namespace {

// Eager torch: a temporary at a time among a few that live longer.
void BM_EagerTemporaries(benchmark::State& state) {
  CachingAllocator allocator(Bytes(std::int64_t{80} << 30));
  const std::int64_t sizes[] = {8192, 16384, 4, 8192, 28672, 8192, 2048, 131072};
  std::vector<CachingAllocator::BlockId> held;
  for (const std::int64_t size : sizes) held.push_back(*allocator.Allocate(Bytes(size)));
  std::size_t i = 0;
  for (auto _ : state) {
    allocator.Free(held[i & 7]);
    held[i & 7] = *allocator.Allocate(Bytes(sizes[(i * 5) & 7]));
    ++i;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_EagerTemporaries);

// A fragmented heap: `range` blocks of random sizes alive, one replaced at a time.
void BM_Fragmented(benchmark::State& state) {
  CachingAllocator allocator(Bytes(std::int64_t{1} << 50));
  std::mt19937_64 random(7);
  std::vector<std::int64_t> sizes(4096);
  for (std::int64_t& size : sizes)
    size = static_cast<std::int64_t>(1) << (random() % 22),
    size += static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(size));
  std::vector<std::uint32_t> victims(4096);
  for (std::uint32_t& victim : victims)
    victim = static_cast<std::uint32_t>(random() % static_cast<std::uint64_t>(state.range(0)));
  std::vector<CachingAllocator::BlockId> held;
  for (std::int64_t i = 0; i < state.range(0); ++i) held.push_back(*allocator.Allocate(Bytes(sizes[i & 4095])));
  std::size_t i = 0;
  for (auto _ : state) {
    const std::uint32_t victim = victims[i & 4095];
    allocator.Free(held[victim]);
    held[victim] = *allocator.Allocate(Bytes(sizes[(i * 7) & 4095]));
    ++i;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Fragmented)->Arg(16)->Arg(256)->Arg(16384);

// Sequential offload: a weight in, a flush, a weight out.
void BM_UploadAndFlush(benchmark::State& state) {
  CachingAllocator allocator(Bytes(std::int64_t{80} << 30));
  const CachingAllocator::BlockId kept = *allocator.Allocate(Bytes(4096));
  for (auto _ : state) {
    const CachingAllocator::BlockId weight = *allocator.Allocate(Bytes(117'440'512));
    allocator.EmptyCache();
    allocator.Free(weight);
  }
  allocator.Free(kept);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_UploadAndFlush);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

// Packing n buffers whose lifetimes overlap about eight deep, as those of a pass do.
#include <benchmark/benchmark.h>

#include <random>

#include "planner/solve/pack/pack.h"
#include "planner/solve/pack/testing/minimalloc.h"

namespace stowage {
namespace {

void PackLifetimes(benchmark::State& state) {
  std::mt19937 random(7);
  std::vector<PackItem> items;
  for (std::int32_t i = 0; i < state.range(0); ++i) {
    const auto life = static_cast<std::int32_t>(random() % 16);
    items.push_back({Bytes(static_cast<std::int64_t>(random() % 1'000'000)), i, i + life});
  }
  double gap = 0;
  for (auto _ : state) gap = 100 * Pack(items, Bytes(256), state.range(1)).Gap();
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["gap_percent"] = gap;
}
BENCHMARK(PackLifetimes)
    ->ArgNames({"items", "steps"})
    ->Args({300, 0})
    ->Args({300, kPackSteps})
    ->Args({1200, 0})
    ->Args({1200, kPackSteps})
    ->Unit(benchmark::kMicrosecond);

// Does the instance fit the capacity it was made for?
void DecideMinimalloc(benchmark::State& state) {
  const auto items = MinimallocInstance(static_cast<char>(state.range(0)));
  if (!items) return state.SkipWithError("STOWAGE_SHARED has no data/minimalloc");
  PackDecision d;
  for (auto _ : state) d = PackWithin(*items, Bytes(1), kMinimallocCapacity, 10'000'000);
  if (!IsPacked(*items, d.offsets, kMinimallocCapacity, Bytes(1))) state.SkipWithError("not packed");
  state.counters["steps"] = static_cast<double>(d.steps);
}
BENCHMARK(DecideMinimalloc)->ArgName("letter")->DenseRange('A', 'K')->Unit(benchmark::kMillisecond);

// How small can it be? Half a million steps.
void MinimiseMinimalloc(benchmark::State& state) {
  const auto items = MinimallocInstance(static_cast<char>(state.range(0)));
  if (!items) return state.SkipWithError("STOWAGE_SHARED has no data/minimalloc");
  Packing p;
  for (auto _ : state) p = Pack(*items, Bytes(1), 500'000);
  if (!IsPacked(*items, p.offsets, p.size, Bytes(1))) state.SkipWithError("not packed");
  state.counters["bytes"] = static_cast<double>(p.size.value());
  state.counters["gap_percent"] = 100 * p.Gap();
}
BENCHMARK(MinimiseMinimalloc)->ArgName("letter")->DenseRange('A', 'K')->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

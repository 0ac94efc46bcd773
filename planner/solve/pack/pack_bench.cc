// Packing n buffers whose lifetimes overlap about eight deep, as those of a pass do.
#include <benchmark/benchmark.h>

#include <random>

#include "planner/solve/pack/pack.h"

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
  for (auto _ : state) gap = Pack(items, Bytes(256)).Gap();
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["gap"] = gap;
}
BENCHMARK(PackLifetimes)->Arg(300)->Arg(1200)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

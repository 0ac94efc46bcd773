// How fast schedules are checked, written and read. The bound for the check: 100,000 executions in well under 0.3 s.
#include <benchmark/benchmark.h>

#include <string>

#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/schedule/parse.h"
#include "planner/schedule/random_rings.h"

namespace stowage {
namespace {

// Blocks and iterations are the arguments; the ring has 3 slots, the cache grows with each pass.
Schedule Ring(const benchmark::State& state) {
  RingShape shape;
  shape.blocks = static_cast<int>(state.range(0));
  shape.slots = 3;
  shape.iterations = state.range(1);
  shape.cache = true;
  return MakeRing(shape);
}

void BM_Check(benchmark::State& state) {
  const Schedule s = Ring(state);
  const auto steps = s.phases.back().body.end - s.phases.back().body.begin;
  for (auto _ : state) {
    if (!CheckSchedule(s)) return state.SkipWithError("not valid");
  }
  state.SetItemsProcessed(state.iterations() * steps * state.range(1));
  state.counters["executions"] = static_cast<double>(steps * state.range(1));
}
BENCHMARK(BM_Check)->Args({1001, 16})->Args({100, 165})->Args({7, 2300})->Args({16000, 1})->Args({100, 100000});

void BM_Dump(benchmark::State& state) {
  const Schedule s = Ring(state);
  for (auto _ : state) benchmark::DoNotOptimize(Dump(s));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(s.steps.size()));
}
BENCHMARK(BM_Dump)->Args({16000, 1});

void BM_Parse(benchmark::State& state) {
  const std::string text = Dump(Ring(state));
  for (auto _ : state) benchmark::DoNotOptimize(ParseSchedule(text));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(BM_Parse)->Args({16000, 1});

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

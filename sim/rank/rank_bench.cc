// The work of `plan` beside starting the process: all native strategies ranked.
#include <benchmark/benchmark.h>

#include "planner/machine/build_machine.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/zoo/zoo.h"
#include "sim/rank/rank.h"

namespace stowage {
namespace {

void RankNative(benchmark::State& state, const char* name, const char* gpu, const char* cpu) {
  const Model model = *ZooModel(name);
  const Machine machine = *BuildMachine({.gpus = {gpu}, .cpu = cpu}, {});
  const PlanningTask task{.model = &model, .machine = &machine};
  const std::vector<Strategy> all = {ResidentStrategy(), RingStrategy()};
  for (auto _ : state) benchmark::DoNotOptimize(Rank(all, task));
}
BENCHMARK_CAPTURE(RankNative, llama_8b_15GB, "llama-8b", "15GB", "30GB")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(RankNative, llama_405b_24GB, "llama-3.1-405b", "24GB", "900GB")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

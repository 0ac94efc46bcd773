// The work of `plan` beside starting the process: strategies ranked, and their closed forms for `plan --quick`.
#include <benchmark/benchmark.h>

#include "planner/machine/build_machine.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/registry.h"
#include "planner/zoo/zoo.h"
#include "sim/rank/rank.h"

namespace stowage {
namespace {

void RankThese(benchmark::State& state, const std::vector<Strategy>& strategies, const char* name, const char* gpu,
               const char* cpu) {
  const Model model = *ZooModel(name);
  const Machine machine = *BuildMachine({.gpus = {gpu}, .cpu = cpu}, {});
  const PlanningTask task{.model = &model, .machine = &machine};
  for (auto _ : state) benchmark::DoNotOptimize(Rank(strategies, task));
}

void RankNative(benchmark::State& state, const char* name, const char* gpu, const char* cpu) {
  RankThese(state, {ResidentStrategy(), RingStrategy()}, name, gpu, cpu);
}
BENCHMARK_CAPTURE(RankNative, llama_8b_15GB, "llama-8b", "15GB", "30GB")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(RankNative, llama_405b_24GB, "llama-3.1-405b", "24GB", "900GB")->Unit(benchmark::kMillisecond);

void RankAll(benchmark::State& state, const char* name, const char* gpu, const char* cpu) {
  RankThese(state, AllStrategies(), name, gpu, cpu);
}
BENCHMARK_CAPTURE(RankAll, llama_8b_15GB, "llama-8b", "15GB", "30GB")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(RankAll, llama_405b_24GB, "llama-3.1-405b", "24GB", "900GB")->Unit(benchmark::kMillisecond);

void ClosedForms(benchmark::State& state, const char* name) {
  const Model model = *ZooModel(name);
  const Machine machine = *BuildMachine({.gpus = {"15GB"}, .cpu = "30GB"}, {});
  for (auto _ : state) {
    TaskCache cache;
    const PlanningTask task{.model = &model, .machine = &machine, .cache = &cache};
    for (const Strategy& strategy : StrategiesFor(machine)) {
      benchmark::DoNotOptimize(strategy.closed_form(task, ""));
    }
  }
}
BENCHMARK_CAPTURE(ClosedForms, llama_8b, "llama-8b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ClosedForms, deepseek_v3, "deepseek-v3")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

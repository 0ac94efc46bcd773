// Lowering llama-8b on a 15 GB card: the sample that ranking simulates, and the whole run. The bound is the tool's:
// `plan` answers in 20 ms.
#include <benchmark/benchmark.h>

#include "planner/machine/build_machine.h"
#include "planner/strategy/native/proposal.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

void LowerRing(benchmark::State& state) {
  const Model model = *ZooModel("llama-8b");
  const Machine machine = *BuildMachine({.gpus = {"15GB"}, .cpu = "30GB"}, {});
  TaskCache cache;
  const PlanningTask task{.model = &model, .machine = &machine, .cache = &cache, .last_decode_passes = state.range(0)};
  const Strategy ring = RingStrategy();
  std::int64_t steps = 0;
  for (auto _ : state) {
    const Result<Lowered> lowered = ring.lower(task, "64MiB");
    if (!lowered) state.SkipWithError(lowered.error().message.c_str());
    steps += static_cast<std::int64_t>(lowered->schedule.steps.size());
  }
  state.SetItemsProcessed(steps);
}
BENCHMARK(LowerRing)->ArgName("sampled_passes")->Arg(3)->Arg(0)->Unit(benchmark::kMicrosecond);

void Realize(benchmark::State& state, const char* name) {
  const Model model = *ZooModel(name);
  const Machine machine = *BuildMachine({.gpus = {"15GB"}, .cpu = "30GB"}, {});
  const PlanningTask task{.model = &model, .machine = &machine};
  for (auto _ : state) benchmark::DoNotOptimize(RealizeModel(task));
}
BENCHMARK_CAPTURE(Realize, llama_8b, "llama-8b")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Realize, deepseek_v3, "deepseek-v3")->Unit(benchmark::kMillisecond);

void Candidates(benchmark::State& state, const char* name, const char* gpu, const char* cpu) {
  const Model model = *ZooModel(name);
  const Machine machine = *BuildMachine({.gpus = {gpu}, .cpu = cpu}, {});
  TaskCache cache;
  const PlanningTask task{.model = &model, .machine = &machine, .cache = &cache};
  const Strategy ring = RingStrategy();
  for (auto _ : state) benchmark::DoNotOptimize(ring.candidates(task));
}
BENCHMARK_CAPTURE(Candidates, llama_8b, "llama-8b", "15GB", "30GB")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Candidates, deepseek_v3, "deepseek-v3", "80GB", "1TB")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Candidates, deepseek_v3_on_disk, "deepseek-v3", "24GB", "100GB")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

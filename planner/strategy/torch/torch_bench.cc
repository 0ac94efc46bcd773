// How long realizing and lowering take: `plan` as a process has 20 ms for all of its candidates.
#include <benchmark/benchmark.h>

#include "planner/machine/build_machine.h"
#include "planner/realize/torch.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

void BM_RealizeDecode(benchmark::State& state) {
  const Model model = *ZooModel("llama-3.1-8b");
  std::size_t events = 0;
  for (auto _ : state) {
    const TorchProgram program = AddSequentialOffloadHooks(*RealizeTorch(model, DecodeOf({})), model);
    events += program.events.size();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(events));
}
BENCHMARK(BM_RealizeDecode)->Unit(benchmark::kMillisecond);

void BM_LowerSequentialOffload(benchmark::State& state) {
  const Model model = *ZooModel("llama-3.1-8b");
  const Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB"}, {});
  const PlanningTask task{.model = &model, .machine = &machine, .request = {}, .last_decode_passes = state.range(0)};
  const Strategy strategy = SequentialOffloadStrategy();
  std::size_t steps = 0;
  for (auto _ : state) steps += strategy.lower(task, "")->schedule.steps.size();
  state.SetItemsProcessed(static_cast<std::int64_t>(steps));
}
BENCHMARK(BM_LowerSequentialOffload)->Arg(1)->Arg(0)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

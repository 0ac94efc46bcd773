// How long the proof takes: 200 units on 16 devices. The bound is 10 ms of CPU time; docs/performance.md says where it is
// missed.
#include <benchmark/benchmark.h>

#include "planner/solve/placement/placement.h"
#include "planner/solve/placement/random_chain.h"

namespace stowage {
namespace {

// A stack of 197 equal blocks between an embedding and a norm and a head; devices of which `equal` says whether they
// differ in size and speed; `cpu`: it may compute. `percent`: the devices' memory in percent of the weights.
PlacementProblem Stack(bool equal, std::int64_t percent, bool tied, bool host_binds, bool cpu) {
  std::vector<Bytes> units = {Bytes(2'101'346'304)};
  units.insert(units.end(), 197, Bytes(855'654'400));
  units.insert(units.end(), {Bytes(16384), Bytes(2'101'346'304)});
  Bytes total;
  for (const Bytes b : units) total += b;
  std::vector<Bytes> budgets;
  for (std::int64_t d = 0; d < 16; ++d) {
    const std::int64_t share = equal ? 1000 : 600 + 53 * d;
    budgets.push_back(Bytes(total.value() / 16 / 100 * percent / 1000 * share));
  }
  const Bytes host(host_binds ? total.value() / 8 : total.value() * 2);
  PlacementProblem p = PlainChain(units, budgets, host, total * 2);
  for (ChainUnit& u : p.units) {
    u.state = Bytes(10'000'000);
    u.transient = Bytes(100'000'000);
    if (cpu) u.cpu_seconds = u.weights / BytesPerSecond(30e9);
    for (int d = 0; d < 16 && !equal; ++d) u.seconds[d] = u.seconds[d] * (1 + 0.07 * ((d * 7) % 16));
  }
  if (tied) p.ties = {{{0, 199}, units[0]}};
  return p;
}

void BM_Solve(benchmark::State& state) {
  PlacementProblem p =
      Stack(state.range(0) != 0, state.range(1), state.range(2) != 0, state.range(3) != 0, state.range(4) != 0);
  p.objective = static_cast<PlacementObjective>(state.range(5));
  std::int64_t nodes = 0;
  double gap = 0;
  for (auto _ : state) {
    const Result<ChainPlacement> r = SolvePlacement(p);
    if (!r.ok()) return state.SkipWithError(r.error().message.c_str());
    nodes = r->nodes;
    gap = r->Gap();
  }
  state.counters["gap_percent"] = 100 * gap;
  state.counters["nodes"] = static_cast<double>(nodes);
}
BENCHMARK(BM_Solve)
    ->ArgNames({"equal", "percent", "tied", "host_binds", "cpu", "objective"})
    ->ArgsProduct({{1, 0}, {60, 120}, {0, 1}, {0, 1}, {0, 1}, {0}})
    ->ArgsProduct({{1, 0}, {60, 120}, {0, 1}, {0, 1}, {0, 1}, {1, 2}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

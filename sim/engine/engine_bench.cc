// Steps simulated per second, for decoding with an 8B Llama whose MLP weights stream through a ring. The bound asked
// for is 5 million per second on one core.
#include <benchmark/benchmark.h>

#include <string>

#include "planner/base/check.h"
#include "sim/engine/engine.h"
#include "sim/engine/toy_schedule.h"

namespace stowage {
namespace {

// Per layer 3 streamed matrices of 117 MB, 10 kernels, the attention growing with the token; the ring holds 6 matrices.
ToySchedule RingDecode(std::int64_t tokens) {
  constexpr int kSlots = 6;
  ToySchedule b;
  b.dispatch.native_launch = Seconds(3e-6);
  b.Phase("decode", tokens);
  std::vector<StepId> copies;
  std::vector<StepId> users;
  for (int layer = 0; layer < 32; ++layer) {
    for (int k = 0; k < 10; ++k) {
      std::vector<StepRef> after;
      if (k >= 7) {
        copies.push_back(b.Copy("gpu0/in", 0));
        b.At(copies.back()).writes = {{0, 0, 117'440'512}};
        b.At(copies.back()).fixed.reset();
        after = {{copies.back()}};
      }
      const StepId s = b.Compute("gpu0/compute", 0, after);
      if (k >= 7) users.push_back(s);
      b.At(s).fixed.reset();
      b.At(s).kernel = static_cast<std::int32_t>(b.schedule.kernels.size());
      Kernel kernel;
      kernel.flops = {k >= 7 ? 1.2e8 : 3e7, k == 4 ? 16'384.0 : 0.0};
      kernel.bytes = {k >= 7 ? 117'440'512 : 30'000'000, k == 4 ? 4'096 : 0};
      b.schedule.kernels.push_back(kernel);
    }
  }
  const auto n = static_cast<int>(copies.size());
  for (int i = 0; i < n; ++i) {  // a slot is free when its matrix of kSlots before has been used
    const bool previous = i < kSlots;
    b.At(copies[static_cast<std::size_t>(i)]).after = {
        {users[static_cast<std::size_t>(previous ? n - kSlots + i : i - kSlots)], previous ? 1 : 0}};
  }
  return b;
}

Machine Rtx(const ToySchedule& b) {
  Machine machine = b.machine();
  for (Resource& r : machine.resources) {
    if (r.name == "gpu0.sm") {
      r.compute = ComputeRate{.fp32 = FlopsPerSecond(80e12),
                              .bf16 = FlopsPerSecond(165e12),
                              .memory = BytesPerSecond(1.0e12),
                              .launch = Seconds(4e-6)};
    } else {
      r.transfer = TransferRate{.latency = Seconds(1e-5), .pinned = BytesPerSecond(25e9)};
    }
  }
  return machine;
}

void RingDecodeWith(benchmark::State& state, const SimulateOptions& options) {
  const ToySchedule b = RingDecode(state.range(0));
  const Machine machine = Rtx(b);
  for (auto _ : state) {
    auto timeline = Simulate(b.schedule, machine, options);
    STOWAGE_CHECK(timeline.ok());
    benchmark::DoNotOptimize(timeline->length);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * static_cast<std::int64_t>(b.schedule.steps.size()));
}

void BM_RingDecode(benchmark::State& state) { RingDecodeWith(state, {}); }
void BM_RingDecodeWithSpans(benchmark::State& state) { RingDecodeWith(state, {.record_spans = true}); }
void BM_RingDecodeByEvents(benchmark::State& state) { RingDecodeWith(state, {.force_event_loop = true}); }

BENCHMARK(BM_RingDecode)->ArgName("tokens")->Arg(16)->Arg(128)->Arg(2048);
BENCHMARK(BM_RingDecodeWithSpans)->ArgName("tokens")->Arg(128);
BENCHMARK(BM_RingDecodeByEvents)->ArgName("tokens")->Arg(128);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

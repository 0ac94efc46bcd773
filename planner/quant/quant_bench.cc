// What "which quantizations fit" costs `plan`: twelve schemes over all tensors of a model.
#include <benchmark/benchmark.h>

#include "planner/quant/fits.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

void BM_FormatsThatFit(benchmark::State& state, const char* name) {
  const Model model = *ZooModel(name);
  for (auto _ : state) benchmark::DoNotOptimize(FormatsThatFit(model, {}, Bytes(24'000'000'000), Bytes(0)));
  state.counters["tensors"] = static_cast<double>(model.tensors.size());
}
BENCHMARK_CAPTURE(BM_FormatsThatFit, llama_8b, "llama-8b");
BENCHMARK_CAPTURE(BM_FormatsThatFit, qwen3_coder_480b, "qwen3-coder-480b-a35b");

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

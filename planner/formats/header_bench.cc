// Reading a header of as many tensors as DeepSeek-V3's largest shards together have. The bound: memory bandwidth, as
// each byte is looked at twice (UTF-8, then the scan).
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "planner/formats/safetensors.h"

namespace stowage {
namespace {

void BM_ParseSafetensorsHeader(benchmark::State& state) {
  std::string json = "{";
  const std::int64_t n = state.range(0);
  for (std::int64_t i = 0; i < n; ++i) {
    json += fmt::format(
        "{}\"model.layers.{}.mlp.experts.{}.down_proj.weight\":{{\"dtype\":\"BF16\",\"shape\":[7,2],\"data_offsets\":[{"
        "},{}]}}",
        i > 0 ? "," : "", i / 256, i % 256, i * 28, i * 28 + 28);
  }
  json += "}";
  const std::int64_t size = 8 + static_cast<std::int64_t>(json.size()) + n * 28;
  if (!ParseSafetensorsHeader(json, size, "bench")) return state.SkipWithError("the header is refused");
  for (auto _ : state) benchmark::DoNotOptimize(ParseSafetensorsHeader(json, size, "bench"));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(json.size()));
  state.SetItemsProcessed(state.iterations() * n);
}
BENCHMARK(BM_ParseSafetensorsHeader)->ArgName("tensors")->Arg(291)->Arg(91'991)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

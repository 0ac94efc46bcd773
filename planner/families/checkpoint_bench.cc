// From the headers of large checkpoints to a model: the tree of a GGUF file with a million tensors, and DeepSeek-V3's
// 91,991 tensors joined with its config. The bound: an allocation or two and one look-up a tensor, about 0.3 us.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>
#include <utility>

#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/families/gguf.h"

namespace stowage {
namespace {

GgufCheckpoint MadeUpGguf(std::int64_t tensors) {
  GgufCheckpoint out;
  out.stem = "bench";
  out.files.files = {"bench.gguf"};
  for (std::int64_t i = 0; i < tensors; ++i) {
    out.files.tensors.push_back(
        {fmt::format("blk.{}.expert_{}.weight", i / 1000, i % 1000), {32}, {0, 128 * i, DType::kF32}});
  }
  return out;
}

void BM_BuildGgufModel(benchmark::State& state) {
  const GgufCheckpoint checkpoint = MadeUpGguf(state.range(0));
  for (auto _ : state) {
    state.PauseTiming();
    GgufCheckpoint copy = checkpoint;
    state.ResumeTiming();
    benchmark::DoNotOptimize(BuildGgufModel(std::move(copy)));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_BuildGgufModel)->ArgName("tensors")->Arg(1'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

constexpr const char* kDeepSeekV3 = R"({"model_type": "deepseek_v3", "torch_dtype": "bfloat16",
    "num_nextn_predict_layers": 1, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})";

void BM_AttachDeepSeekV3(benchmark::State& state) {
  const Model model = *BuildModel(*HfConfig::Parse(kDeepSeekV3, "config.json"), "deepseek-v3");
  Checkpoint checkpoint{{"model.safetensors"}, {}};
  for (const auto* tensors : {&model.tensors, &model.unloaded}) {
    for (const Tensor& t : *tensors) {
      if (t.persistent) checkpoint.tensors.push_back({t.name, t.shape, {0, 0, t.dtype}});
    }
  }
  for (auto _ : state) {
    state.PauseTiming();
    Model copy = model;
    state.ResumeTiming();
    if (!AttachCheckpoint(copy, checkpoint, "bench")) return state.SkipWithError("the checkpoint is refused");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(checkpoint.tensors.size()));
}
BENCHMARK(BM_AttachDeepSeekV3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage

BENCHMARK_MAIN();

// Host kernels at llama-8b's sizes, on one thread, beside what the machine can do: every line carries the rate it
// reached and `of_bound`, its share of the bound measured in the same run (memory copied and read, fused
// multiply-adds).
//   bazel run //kernels:kernels_bench
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/float16.h"
#include "kernels/host/isa.h"

namespace stowage::kernels {
namespace {

constexpr std::int64_t kFarBytes = 256 << 20;  // larger than any cache here

std::vector<std::uint8_t> Values(Dtype dtype, std::int64_t count) {
  std::vector<std::uint8_t> data(count * ElementBytes(dtype));
  std::minstd_rand random(7);
  for (std::int64_t i = 0; i < count; ++i)
    StoreElement(dtype, data.data(), i, static_cast<float>(random() % 1000) / 1e4f);
  return data;
}

// The clock of Google Benchmark's rates: bounds and rates then compare on a busy machine too.
double ThreadSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class F>
double BestSeconds(F&& run) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = ThreadSeconds();
    run();
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

// Bytes per second that one thread reads while it does nothing else.
double ReadBandwidth() {
  static const double bandwidth = [] {
    std::vector<std::uint64_t> data(kFarBytes / 8, 1);
    std::uint64_t sum = 0;
    const double seconds = BestSeconds([&] {
      std::uint64_t a = 0, b = 0, c = 0, d = 0;
      for (std::size_t i = 0; i + 4 <= data.size(); i += 4) {
        a += data[i];
        b += data[i + 1];
        c += data[i + 2];
        d += data[i + 3];
      }
      sum += a + b + c + d;
      benchmark::DoNotOptimize(sum);
    });
    return kFarBytes / seconds;
  }();
  return bandwidth;
}

// Operations per second of the matrix loop where everything sits in the nearest caches: the best over the element
// types, as 16-bit ones load half as much.
double FlopsInCache() {
  static const double flops = [] {
    constexpr int kRows = 4, kColumns = 8, kDepth = 1024, kRepeat = 3000;
    double best = 0;
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const auto x = Values(dtype, kRows * kDepth);
      const auto w = Values(dtype, kColumns * kDepth);
      auto y = Values(dtype, kRows * kColumns);
      const LinearArgs args = {.dtype = dtype,
                               .rows = kRows,
                               .k = kDepth,
                               .n = kColumns,
                               .row_end = kColumns,
                               .x = x.data(),
                               .weight = w.data(),
                               .y = y.data()};
      const double seconds = BestSeconds([&] {
        for (int i = 0; i < kRepeat; ++i) HostLinear(args);
      });
      best = std::max(best, 2.0 * kRows * kColumns * kDepth * kRepeat / seconds);
    }
    return best;
  }();
  return flops;
}

void Rate(benchmark::State& state, double bytes, double bound) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes * state.iterations()));
  state.counters["of_bound"] = benchmark::Counter(bytes / bound, benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Memcpy(benchmark::State& state) {
  std::vector<char> from(kFarBytes, 1), to(kFarBytes);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), kFarBytes);
    benchmark::ClobberMemory();
  }
  Rate(state, 2.0 * kFarBytes, ReadBandwidth());
}
BENCHMARK(BM_Memcpy)->Unit(benchmark::kMillisecond);

// One decoded token through a 4096 x 14336 matrix: bound by reading W.
void BM_LinearDecode(benchmark::State& state) {
  const auto dtype = static_cast<Dtype>(state.range(0));
  const int rows = static_cast<int>(state.range(1));
  constexpr int kDepth = 4096, kColumns = 14336;
  const auto x = Values(dtype, std::int64_t{rows} * kDepth);
  const auto w = Values(dtype, std::int64_t{kDepth} * kColumns);
  auto y = Values(dtype, std::int64_t{rows} * kColumns);
  const LinearArgs args = {.dtype = dtype,
                           .rows = rows,
                           .k = kDepth,
                           .n = kColumns,
                           .row_end = kColumns,
                           .x = x.data(),
                           .weight = w.data(),
                           .y = y.data()};
  for (auto _ : state) HostLinear(args);
  Rate(state, static_cast<double>(w.size()), ReadBandwidth());
}
BENCHMARK(BM_LinearDecode)
    ->ArgNames({"dtype", "rows"})
    ->ArgsProduct({{0, 1, 2}, {1, 4}})
    ->Unit(benchmark::kMillisecond);

// A prompt of 128 tokens through a 4096 x 4096 matrix: bound by arithmetic.
void BM_LinearPrefill(benchmark::State& state) {
  const auto dtype = static_cast<Dtype>(state.range(0));
  constexpr int kRows = 128, kDepth = 4096, kColumns = 1024;
  const auto x = Values(dtype, std::int64_t{kRows} * kDepth);
  const auto w = Values(dtype, std::int64_t{kDepth} * kColumns);
  auto y = Values(dtype, std::int64_t{kRows} * kColumns);
  const LinearArgs args = {.dtype = dtype,
                           .rows = kRows,
                           .k = kDepth,
                           .n = kColumns,
                           .row_end = kColumns,
                           .x = x.data(),
                           .weight = w.data(),
                           .y = y.data()};
  for (auto _ : state) HostLinear(args);
  constexpr double kFlops = 2.0 * kRows * kDepth * kColumns;
  state.counters["flops"] = benchmark::Counter(kFlops, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_bound"] =
      benchmark::Counter(kFlops / FlopsInCache(), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_LinearPrefill)->ArgName("dtype")->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

// One token over a cache of 4096 positions, 32 query heads on 8: bound by reading K and V once per query head from
// cache.
void BM_AttentionDecode(benchmark::State& state) {
  const auto dtype = static_cast<Dtype>(state.range(0));
  constexpr int kPositions = 4096, kHeads = 32, kKvHeads = 8, kHeadDim = 128;
  const auto k = Values(dtype, std::int64_t{kPositions} * kKvHeads * kHeadDim);
  const auto q = Values(dtype, kHeads * kHeadDim);
  auto out = Values(dtype, kHeads * kHeadDim);
  const AttentionArgs args = {.dtype = dtype,
                              .tokens = 1,
                              .past = kPositions - 1,
                              .batch = 1,
                              .heads = kHeads,
                              .kv_heads = kKvHeads,
                              .head_dim = kHeadDim,
                              .q = q.data(),
                              .k_cache = k.data(),
                              .v_cache = k.data(),
                              .out = out.data()};
  for (auto _ : state) HostAttention(args);
  Rate(state, 2.0 * k.size(), ReadBandwidth());
}
BENCHMARK(BM_AttentionDecode)->ArgName("dtype")->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

void BM_Convert(benchmark::State& state) {
  const auto from = static_cast<Dtype>(state.range(0));
  const auto to = static_cast<Dtype>(state.range(1));
  constexpr std::int64_t kCount = 32 << 20;
  const auto input = Values(from, kCount);
  auto output = Values(to, kCount);
  const ConvertArgs args = {
      .from_dtype = from, .to_dtype = to, .count = kCount, .from = input.data(), .to = output.data()};
  for (auto _ : state) HostConvert(args);
  Rate(state, static_cast<double>(input.size() + output.size()), ReadBandwidth());
}
BENCHMARK(BM_Convert)
    ->ArgNames({"from", "to"})
    ->Args({2, 0})
    ->Args({1, 0})
    ->Args({0, 2})
    ->Args({1, 2})
    ->Unit(benchmark::kMillisecond);

void BM_RmsNorm(benchmark::State& state) {
  const auto dtype = static_cast<Dtype>(state.range(0));
  constexpr int kRows = 512, kHidden = 4096;
  const auto x = Values(dtype, kRows * kHidden);
  const auto w = Values(dtype, kHidden);
  auto y = Values(dtype, kRows * kHidden);
  const RmsNormArgs args = {
      .dtype = dtype, .rows = kRows, .hidden = kHidden, .x = x.data(), .weight = w.data(), .y = y.data()};
  for (auto _ : state) HostRmsNorm(args);
  Rate(state, 2.0 * x.size(), ReadBandwidth());
}
BENCHMARK(BM_RmsNorm)->ArgName("dtype")->DenseRange(0, 2)->Unit(benchmark::kMicrosecond);

void BM_SiluMul(benchmark::State& state) {
  const auto dtype = static_cast<Dtype>(state.range(0));
  constexpr std::int64_t kCount = 128 * 14336;
  const auto gate = Values(dtype, kCount);
  auto out = Values(dtype, kCount);
  const SiluMulArgs args = {.dtype = dtype, .count = kCount, .gate = gate.data(), .up = gate.data(), .out = out.data()};
  for (auto _ : state) HostSiluMul(args);
  Rate(state, 3.0 * gate.size(), ReadBandwidth());
}
BENCHMARK(BM_SiluMul)->ArgName("dtype")->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stowage::kernels

int main(int argc, char** argv) {
  benchmark::AddCustomContext("host_isa", stowage::kernels::BestHostIsa().name);
  benchmark::AddCustomContext("read_bytes_per_s", std::to_string(stowage::kernels::ReadBandwidth()));
  benchmark::AddCustomContext("flops_in_cache", std::to_string(stowage::kernels::FlopsInCache()));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Kernels at llama-8b's sizes on CUDA device 0, as JSON: {"device": …, "results": [{"name", "us", "gb_per_s" or
// "tflop_per_s", "of_copy"}, …]}. `of_copy` is the share of the bandwidth of a device-to-device copy measured first.
// Needs only a driver (and libcublasLt for its own lines), so the binary can be carried; exits 3 where there is no
// device.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cublaslt.h"
#include "kernels/table.h"

namespace stowage::kernels {
namespace {

constexpr std::int64_t kFlushBytes = 512 << 20;  // larger than any second-level cache
constexpr int kRuns = 15;

struct DeviceMemory {
  explicit DeviceMemory(std::int64_t bytes) {
    if (cudaMalloc(&data, bytes) == cudaSuccess) cudaMemset(data, 0, bytes);
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() { cudaFree(data); }
  void* data = nullptr;
};

class Bench {
 public:
  Bench() : flush_(kFlushBytes) {
    cudaEventCreate(&start_);
    cudaEventCreate(&end_);
  }
  ~Bench() {
    cudaEventDestroy(start_);
    cudaEventDestroy(end_);
  }

  // Median of kRuns, each after the second-level cache was overwritten; negative where the kernel failed.
  double Seconds(const std::function<int()>& run) {
    std::vector<float> times;
    for (int i = 0; i < kRuns + 2; ++i) {
      cudaMemsetAsync(flush_.data, i, kFlushBytes);
      cudaEventRecord(start_);
      if (run() != kOk) return -1;
      cudaEventRecord(end_);
      if (cudaEventSynchronize(end_) != cudaSuccess) return -1;
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, start_, end_);
      if (i >= 2) times.push_back(milliseconds);
    }
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return times[kRuns / 2] * 1e-3;
  }

  void Copy() {
    DeviceMemory from(kFlushBytes), to(kFlushBytes);
    const double seconds = Seconds(
        [&] { return static_cast<int>(cudaMemcpyAsync(to.data, from.data, kFlushBytes, cudaMemcpyDeviceToDevice)); });
    copy_bandwidth_ = 2.0 * kFlushBytes / seconds;
    Line("copy device to device", seconds, 2.0 * kFlushBytes, 0);
  }

  void Bandwidth(const std::string& name, double bytes, const std::function<int()>& run) {
    Line(name, Seconds(run), bytes, 0);
  }
  void Arithmetic(const std::string& name, double flops, const std::function<int()>& run) {
    Line(name, Seconds(run), 0, flops);
  }

 private:
  void Line(const std::string& name, double seconds, double bytes, double flops) {
    std::printf("%s    {\"name\": \"%s\", \"us\": %.2f", first_ ? "" : ",\n", name.c_str(), seconds * 1e6);
    if (bytes > 0) {
      std::printf(", \"gb_per_s\": %.1f, \"of_copy\": %.3f}", bytes / seconds * 1e-9,
                  bytes / seconds / copy_bandwidth_);
    } else {
      std::printf(", \"tflop_per_s\": %.2f}", flops / seconds * 1e-12);
    }
    first_ = false;
  }

  DeviceMemory flush_;
  cudaEvent_t start_ = nullptr, end_ = nullptr;
  double copy_bandwidth_ = 1;
  bool first_ = true;
};

struct Shape {
  const char* name;
  int n, k;
};
constexpr Shape kLlama8B[] = {{"q_proj", 4096, 4096},
                              {"k_proj", 1024, 4096},
                              {"gate_proj", 14336, 4096},
                              {"down_proj", 4096, 14336},
                              {"lm_head", 128256, 4096}};

LinearArgs Linear(const Shape& s, int rows, const DeviceMemory& x, const DeviceMemory& w, const DeviceMemory& y) {
  return {.dtype = Dtype::kBF16,
          .rows = rows,
          .k = s.k,
          .n = s.n,
          .row_end = s.n,
          .x = x.data,
          .weight = w.data,
          .y = y.data};
}

void BenchLinear(Bench& bench, CublasLt* cublaslt) {
  for (const Shape& s : kLlama8B) {
    const double weight_bytes = 2.0 * s.n * s.k;
    DeviceMemory w(2ll * s.n * s.k), x(2ll * 2048 * s.k), y(2ll * 2048 * s.n);
    for (const int rows : {1, 4, 8}) {
      const LinearArgs args = Linear(s, rows, x, w, y);
      bench.Bandwidth(std::string("linear_small bf16 ") + s.name + " rows " + std::to_string(rows), weight_bytes,
                      [&] { return LaunchLinearSmall(args, nullptr); });
    }
    for (const int rows : {16, 512, 2048}) {
      const LinearArgs args = Linear(s, rows, x, w, y);
      const double flops = 2.0 * rows * s.n * s.k;
      const std::string what = std::string(" bf16 ") + s.name + " rows " + std::to_string(rows);
      if (cublaslt) bench.Arithmetic("cublaslt" + what, flops, [&] { return cublaslt->Linear(args, nullptr); });
      if (rows <= 512) bench.Arithmetic("linear_tiled" + what, flops, [&] { return LaunchLinearTiled(args, nullptr); });
    }
  }
}

void BenchAttention(Bench& bench) {
  for (const int past : {512, 4096, 32768}) {
    const std::int64_t cache_bytes = 2ll * (past + 1) * 8 * 128;
    DeviceMemory k(cache_bytes), v(cache_bytes), q(2 * 32 * 128), out(2 * 32 * 128);
    const AttentionArgs args = {.dtype = Dtype::kBF16,
                                .tokens = 1,
                                .past = past,
                                .batch = 1,
                                .heads = 32,
                                .kv_heads = 8,
                                .head_dim = 128,
                                .q = q.data,
                                .k_cache = k.data,
                                .v_cache = v.data,
                                .out = out.data};
    bench.Bandwidth("attention decode bf16 past " + std::to_string(past), 2.0 * cache_bytes,
                    [&] { return LaunchAttention(args, nullptr); });
  }
  DeviceMemory k(2ll * 2048 * 8 * 128), v(2ll * 2048 * 8 * 128), q(2ll * 2048 * 32 * 128), out(2ll * 2048 * 32 * 128);
  for (const int tokens : {512, 2048}) {
    const AttentionArgs args = {.dtype = Dtype::kBF16,
                                .tokens = tokens,
                                .batch = 1,
                                .heads = 32,
                                .kv_heads = 8,
                                .head_dim = 128,
                                .q = q.data,
                                .k_cache = k.data,
                                .v_cache = v.data,
                                .out = out.data};
    bench.Arithmetic("attention prefill bf16 tokens " + std::to_string(tokens),
                     2.0 * 32 * 128 * tokens * (tokens + 1.0), [&] { return LaunchAttention(args, nullptr); });
  }
}

void BenchRows(Bench& bench) {
  for (const int rows : {1, 512}) {
    const std::string what = " bf16 rows " + std::to_string(rows);
    const std::int64_t bytes = 2ll * rows * 4096;
    DeviceMemory x(bytes), w(2 * 4096), y(bytes);
    const RmsNormArgs norm = {
        .dtype = Dtype::kBF16, .rows = rows, .hidden = 4096, .x = x.data, .weight = w.data, .y = y.data};
    bench.Bandwidth("rms_norm" + what, 2.0 * bytes, [&] { return LaunchRmsNorm(norm, nullptr); });
    const std::int64_t count = 14336ll * rows;
    DeviceMemory gate(2 * count), up(2 * count);
    const SiluMulArgs silu = {
        .dtype = Dtype::kBF16, .count = count, .gate = gate.data, .up = up.data, .out = gate.data};
    bench.Bandwidth("silu_mul" + what, 6.0 * count, [&] { return LaunchSiluMul(silu, nullptr); });
  }
  DeviceMemory logits(2 * 128256), token(4);
  const ArgmaxArgs argmax = {.dtype = Dtype::kBF16,
                             .rows = 1,
                             .vocab = 128256,
                             .logits = logits.data,
                             .out = static_cast<std::int32_t*>(token.data)};
  bench.Bandwidth("argmax bf16 vocab 128256", 2.0 * 128256, [&] { return LaunchArgmax(argmax, nullptr); });
}

int Main() {
  cudaDeviceProp properties = {};
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, 0); code != cudaSuccess) {
    std::fprintf(stderr, "no CUDA device: %s\n", cudaGetErrorString(code));
    return 3;
  }
  std::string why;
  const std::unique_ptr<CublasLt> cublaslt = CublasLt::Open(&why);
  std::printf("{\n  \"device\": \"%s\",\n  \"cublaslt\": \"%s\",\n  \"results\": [\n", properties.name,
              cublaslt ? cublaslt->Library().c_str() : why.c_str());
  Bench bench;
  bench.Copy();
  BenchLinear(bench, cublaslt.get());
  BenchAttention(bench);
  BenchRows(bench);
  const cudaError_t code = cudaDeviceSynchronize();
  std::printf("\n  ],\n  \"last_error\": \"%s\"\n}\n", code == cudaSuccess ? "" : cudaGetErrorString(code));
  return code == cudaSuccess ? 0 : 3;
}

}  // namespace
}  // namespace stowage::kernels

int main() { return stowage::kernels::Main(); }

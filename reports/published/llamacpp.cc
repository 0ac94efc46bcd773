// llama.cpp's speed and memory by the number of layers on the GPU.
#include <array>

#include "reports/published/tables.h"

namespace stowage::published {
namespace {

constexpr Figure Rate(double tokens, double half_digit, std::string_view printed, std::string_view calibrates = {}) {
  return {.what = Quantity::kDecodeRate,
          .value = tokens,
          .below = half_digit,
          .above = half_digit,
          .printed = printed,
          .calibrates = calibrates};
}
constexpr Figure Memory(double mb, std::string_view printed, std::string_view calibrates = {}) {
  return {.what = Quantity::kProcessGpuBytes,
          .value = mb * 1048576,
          .below = 0.5 * 1048576,
          .above = 0.5 * 1048576,
          .printed = printed,
          .calibrates = calibrates};
}

constexpr auto kConstants = std::to_array<Constant>({
    {"device memory read by kernels", "0.93 of 448 GB/s", "published",
     "data sheet, and the share that every card gets"},
    {"host memory read by the CPU's kernels", "24.9 GB/s", "computed", "ngl 0: 2.89 tokens a second"},
    {"FLOPs of the CPU's kernels", "1 TFLOPS", "assumed", "enough for memory to be the limit"},
    {"context", "4,096 positions", "assumed", "llama.cpp's default of then; the source does not say"},
    {"CUDA context", "265 MB", "published", "ngl 0: the memory in use with nothing on the card"},
});

constexpr Machine kRtx5060Ti = {
    .id = "rtx-5060-ti",
    .gpus = "16GiB",
    .cpu = "64GB",
    .disk = "500GB",
    .profile = R"({"stowage_machine": 1,
      "reservations": [{"pool": "gpu0", "name": "CUDA context", "bytes": 277872640, "origin": "published",
                        "source": "in use at ngl 0"}],
      "resources": {"gpu0.sm": {"origin": "computed", "compute": {"memory_bytes_per_s": 448e9, "memory_efficiency": 0.93}},
                    "host.cores": {"origin": "computed", "compute": {"fp32_flops_per_s": 1e12, "memory_bytes_per_s": 24.9e9, "memory_efficiency": 1.0}},
                    "host.dram": {"origin": "computed", "transfer": {"pinned_bytes_per_s": 24.9e9, "pageable_bytes_per_s": 24.9e9}}}})",
    .constants = kConstants,
};

constexpr auto k0 =
    std::to_array<Figure>({Rate(2.89, 0.005, "2.89 tok/s", "host memory"), Memory(265, "265 MB", "CUDA context")});
constexpr auto k8 = std::to_array<Figure>({Rate(3.58, 0.005, "3.58 tok/s"), Memory(2161, "2,161 MB")});
constexpr auto k16 = std::to_array<Figure>({Rate(4.24, 0.005, "4.24 tok/s"), Memory(3509, "3,509 MB")});
constexpr auto k24 = std::to_array<Figure>({Rate(5.61, 0.005, "5.61 tok/s"), Memory(4875, "4,875 MB")});
constexpr auto k32 = std::to_array<Figure>({Rate(7.26, 0.005, "7.26 tok/s"), Memory(6241, "6,241 MB")});
constexpr auto k40 = std::to_array<Figure>({Rate(12.5, 0.05, "12.5 tok/s"), Memory(7593, "7,593 MB")});
constexpr auto k99 = std::to_array<Figure>({Rate(43.18, 0.005, "43.18 tok/s"), Memory(9179, "9,179 MB")});

constexpr auto kRows = std::to_array<Row>({
    {"ngl 0", "qwen2.5-14b", "q4_k_m", "layers:0", 1, 64, 128, k0, 0, 4096},
    {"ngl 8", "qwen2.5-14b", "q4_k_m", "layers:8", 1, 64, 128, k8, 0, 4096},
    {"ngl 16", "qwen2.5-14b", "q4_k_m", "layers:16", 1, 64, 128, k16, 0, 4096},
    {"ngl 24", "qwen2.5-14b", "q4_k_m", "layers:24", 1, 64, 128, k24, 0, 4096},
    {"ngl 32", "qwen2.5-14b", "q4_k_m", "layers:32", 1, 64, 128, k32, 0, 4096,
     "the rows beside it agree; nothing in the layers that the CPU has here explains it"},
    {"ngl 40", "qwen2.5-14b", "q4_k_m", "layers:40", 1, 64, 128, k40, 0, 4096},
    {"ngl 99", "qwen2.5-14b", "q4_k_m", "layers:99", 1, 64, 128, k99, 0, 4096},
});

constexpr Table kSweep = {
    .id = "llamacpp-ngl",
    .title = "llama.cpp: layers on the GPU, Qwen2.5-Coder-14B Q4_K_M",
    .source = "inventivehq.com, vram-offload-cliff-gpu-layers-benchmark: RTX 5060 Ti",
    .method = "tokens per second of decoding; the memory the card reports. Prompt and context are not stated",
    .machine = &kRtx5060Ti,
    .rows = kRows,
};

}  // namespace

const Table& NglSweep() { return kSweep; }

}  // namespace stowage::published

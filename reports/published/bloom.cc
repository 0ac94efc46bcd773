// Per-token times of BLOOM-176B on eight A100 of 80 GB.
#include <array>

#include "reports/published/tables.h"

namespace stowage::published {
namespace {

// Printed as milliseconds over all tokens of a batch: a pass takes `batch` times as long.
constexpr Figure PerToken(double ms, std::int64_t batch, std::string_view printed) {
  return {.value = ms * 1e-3 * static_cast<double>(batch),
          .below = 0.005e-3 * static_cast<double>(batch),
          .above = 0.005e-3 * static_cast<double>(batch),
          .printed = printed};
}

constexpr auto kConstants = std::to_array<Constant>({
    {"all", "a100-80 of the hardware table", "published",
     "1769 GB/s stream read and 271 TFLOPS bf16 as measured by others"},
    {"one operator of eager torch on its host", "12 us", "published", "the default of every machine; docs/machine.md"},
});

constexpr Machine kA100s = {.id = "eight-a100-80",
                            .gpus = "8xa100-80",
                            .cpu = "500GB",
                            .disk = "1500GB",
                            .profile = "",
                            .constants = kConstants};

constexpr auto kOne = std::to_array<Figure>({PerToken(230.38, 1, "230.38 ms")});
constexpr auto kEight = std::to_array<Figure>({PerToken(31.78, 8, "31.78 ms x 8")});
constexpr auto kSixteen = std::to_array<Figure>({PerToken(17.84, 16, "17.84 ms x 16")});
constexpr auto kThirtyTwo = std::to_array<Figure>({PerToken(10.89, 32, "10.89 ms x 32")});
constexpr auto kTensorParallel = std::to_array<Figure>({PerToken(44.02, 1, "44.02 ms")});
constexpr auto kZero = std::to_array<Figure>({PerToken(283, 1, "283 ms")});
constexpr auto kInt8 = std::to_array<Figure>({PerToken(286.56, 1, "286.56 ms")});

constexpr std::string_view kMap = "device-map:balanced_low_0";

constexpr auto kRows = std::to_array<Row>({
    {"accelerate bf16, batch 1", "bloom-176b", "bf16", kMap, 1, 8, 100, kOne, 0, 0,
     "its weights were read at 1.53 TB/s, and the table's card reads 1.73"},
    {"accelerate bf16, batch 8", "bloom-176b", "bf16", kMap, 8, 8, 100, kEight},
    {"accelerate bf16, batch 16", "bloom-176b", "bf16", kMap, 16, 8, 100, kSixteen},
    {"accelerate bf16, batch 32", "bloom-176b", "bf16", kMap, 32, 8, 100, kThirtyTwo, 0, 0,
     "each further sequence cost 3.8 ms a pass, and 0.9 here: products of 8 to 32 rows took more than reading their "
     "weights, "
     "and the library of then padded, masked and joined caches more expensively than the one that is simulated"},
    {"accelerate int8, batch 1", "", "int8", "", 1, 8, 100, kInt8, 0, 0,
     "not predicted: eager torch with quantized weights is not simulated"},
    {"DeepSpeed-Inference fp16, batch 1", "", "fp16", "", 1, 8, 100, kTensorParallel, 0, 0,
     "not predicted: DeepSpeed's kernels, tensor parallel over eight GPUs"},
    {"DeepSpeed-ZeRO bf16, batch 1", "", "bf16", "", 1, 8, 100, kZero, 0, 0,
     "not predicted: weights gathered from eight GPUs for each layer"},
});

constexpr Table kBloom = {
    .id = "bloom-176b",
    .title = "BLOOM-176B on eight A100 80GB",
    .source = "Hugging Face blog, bloom-inference-pytorch-scripts (2022-09); its script",
    .method =
        "100 new tokens of prompts of up to 10 tokens, device_map=\"balanced_low_0\"; mean time over the tokens of all "
        "sequences; shown here per pass",
    .machine = &kA100s,
    .rows = kRows,
};

}  // namespace

const Table& Bloom176B() { return kBloom; }

}  // namespace stowage::published

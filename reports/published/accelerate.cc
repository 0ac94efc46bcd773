// accelerate's own table of big-model inference, and the rows of accelerate in FlexLLMGen's comparison.
#include <array>

#include "reports/published/tables.h"

namespace stowage::published {
namespace {

// "GB" of the table are MiB / 1000, cut off: its script prints MiB of the modules and buffers that the map gives each
// device. Cut off, they agree with GPT-J's two rows and the buffers of then; rounded, they do not.
constexpr double kGB = 1000.0 * 1048576;

constexpr Figure OnGpu(int gpu, double gb, std::string_view printed, std::string_view calibrates = {}) {
  return {.what = Quantity::kGpuBytes,
          .gpu = gpu,
          .value = gb * kGB,
          .below = 0,
          .above = 0.1 * kGB,
          .printed = printed,
          .calibrates = calibrates};
}
constexpr Figure OnHost(double gb, std::string_view printed, std::string_view calibrates = {}) {
  return {.what = Quantity::kHostBytes,
          .value = gb * kGB,
          .below = 0,
          .above = 0.1 * kGB,
          .printed = printed,
          .calibrates = calibrates};
}
constexpr Figure PerToken(double seconds, double half_digit, std::string_view printed,
                          std::string_view calibrates = {}) {
  return {.value = seconds, .below = half_digit, .above = half_digit, .printed = printed, .calibrates = calibrates};
}
constexpr Figure Rate(double tokens, double half_digit, std::string_view printed, std::string_view calibrates = {}) {
  return {.what = Quantity::kTokensPerSecond,
          .value = tokens,
          .below = half_digit,
          .above = half_digit,
          .printed = printed,
          .calibrates = calibrates};
}

// ---- two Titan RTX

constexpr auto kTitanConstants = std::to_array<Constant>({
    {"budgets of a map: each GPU", "22.5 GiB", "computed",
     "with it, accelerate's algorithm gives the six device uses of the two OPT-30B rows; 23.6 GiB are the card's"},
    {"budgets of a map: the host", "26 GiB", "computed", "likewise, of 32 GB"},
    {"pageable copies to a GPU", "6.6 GB/s", "computed",
     "the OPT-30B float16 row: 14.80e9 bytes in what its 2.37 s leave beside kernels and hooks"},
    {"reading an offloaded weight", "2.35 GB/s", "computed",
     "the OPT-30B float32 row: 51.8e9 bytes in what its 33.9 s leave beside copies, kernels and hooks"},
    {"one operator of eager torch on its host", "36 us", "computed",
     "the GPT-J-6B float16 row, whose weights alone take 21 ms: the rest is Python"},
    {"device memory and FLOPs", "titan-rtx of the hardware table", "published",
     "data sheet; 0.93 and 0.97 of its peaks"},
});

constexpr Machine kTitans = {
    .id = "two-titan-rtx",
    .gpus = "2xtitan-rtx",
    .cpu = "32GB",
    .disk = "500GB",
    .max_memory = R"({"0": "22.5GiB", "1": "22.5GiB", "cpu": "26GiB"})",
    .profile = R"({"stowage_machine": 1,
      "resources": {"gpu0.h2d": {"origin": "computed", "transfer": {"pageable_bytes_per_s": 6.6e9}},
                    "gpu1.h2d": {"origin": "computed", "transfer": {"pageable_bytes_per_s": 6.6e9}},
                    "disk0": {"origin": "computed", "transfer": {"pinned_bytes_per_s": 2.35e9, "pageable_bytes_per_s": 2.35e9}}},
      "dispatch": {"torch_operator_s": 36e-6}})",
    .constants = kTitanConstants,
};

constexpr auto kGptJ16 = std::to_array<Figure>({
    OnGpu(0, 11.7, "11.7 GB"),
    OnGpu(1, 0, "0 GB"),
    OnHost(0, "0 GB"),
    PerToken(0.05, 0.005, "0.05 s", "one operator of eager torch"),
});
constexpr auto kGptJ32 = std::to_array<Figure>({
    OnGpu(0, 21.9, "21.9 GB"),
    OnGpu(1, 1.5, "1.5 GB"),
    OnHost(0, "0 GB"),
    PerToken(0.06, 0.005, "0.06 s"),
});
constexpr auto kNeoX16 = std::to_array<Figure>({
    OnGpu(0, 21.5, "21.5 GB"),
    OnGpu(1, 18, "18 GB"),
    OnHost(0, "0 GB"),
    PerToken(0.08, 0.005, "0.08 s"),
});
constexpr auto kNeoX32 = std::to_array<Figure>({
    OnGpu(0, 20.3, "20.3 GB"),
    OnGpu(1, 22.7, "22.7 GB"),
    OnHost(24.4, "24.4 GB"),
    PerToken(10.72, 0.005, "10.72 s"),
});
constexpr auto kT0pp = std::to_array<Figure>({
    OnGpu(0, 21.1, "21.1 GB"),
    OnGpu(1, 21.3, "21.3 GB"),
    OnHost(0, "0 GB"),
    PerToken(0.05, 0.005, "0.05 s"),
});
constexpr auto kOpt16 = std::to_array<Figure>({
    OnGpu(0, 20.7, "20.7 GB", "budgets"),
    OnGpu(1, 22.3, "22.3 GB", "budgets"),
    OnHost(14.1, "14.1 GB", "budgets"),
    PerToken(2.37, 0.005, "2.37 s", "pageable copies"),
});
constexpr auto kOpt32 = std::to_array<Figure>({
    OnGpu(0, 20.2, "20.2 GB", "budgets"),
    OnGpu(1, 21.2, "21.2 GB", "budgets"),
    OnHost(23.5, "23.5 GB", "budgets"),
    PerToken(33.9, 0.05, "33.9 s", "reading an offloaded weight"),
});

constexpr std::int64_t kMaskSide = 2048;
constexpr std::string_view kSequential = "device-map:sequential";

constexpr auto kBigModelRows = std::to_array<Row>({
    {"GPT-J-6B float16", "gpt-j-6b", "fp16", kSequential, 1, 6, 14, kGptJ16, kMaskSide},
    {"GPT-J-6B float32", "gpt-j-6b", "fp32", kSequential, 1, 6, 14, kGptJ32, kMaskSide},
    {"GPT-NeoX-20B float16", "gpt-neox-20b", "fp16", kSequential, 1, 6, 14, kNeoX16, kMaskSide},
    {"GPT-NeoX-20B float32", "gpt-neox-20b", "fp32", kSequential, 1, 6, 14, kNeoX32, kMaskSide},
    {"T0pp (11B) float32", "t0pp", "fp32", kSequential, 1, 6, 19, kT0pp, 0, 0,
     "Python's side of a pass is 64 ms here, 41 of its operators and 23 of its hooks; the GPUs need 40. 36 us an "
     "operator "
     "are what GPT-J took, whose text of then had more operators than the one that is simulated; T5's has hardly "
     "changed"},
    {"OPT-30B float16", "opt-30b", "fp16", kSequential, 1, 6, 14, kOpt16},
    {"OPT-30B float32", "opt-30b", "fp32", kSequential, 1, 6, 14, kOpt32},
});

constexpr Table kBigModelInference = {
    .id = "accelerate-big-model-inference",
    .title = "accelerate: big-model inference on two Titan RTX",
    .source = "huggingface/accelerate, benchmarks/big_model_inference/README.md (2022-07-12)",
    .method =
        "device_map=\"auto\" before it balanced (today's sequential); the mean over six prompts of 5 to 9 tokens, the "
        "first of the process included, of generate()'s time over its tokens, up to its default length of 20",
    .machine = &kTitans,
    .rows = kBigModelRows,
};

// The same runs' from_pretrained. Checkpoints were pickled then: each shard was read whole, and its weights were moved
// one by one.
constexpr std::string_view kLoad = "by-shard:bin";
constexpr std::string_view kFromTheMap = "device-map:sequential";
constexpr std::string_view kDiskRate =
    "no one rate explains the rows, which load 1.33 to 1.96 GB of checkpoint a second: what of the files was in the "
    "page "
    "cache is not known; the disk's rate here is that of single weights out of an offload folder";

constexpr std::string_view kFolderRate =
    "what is for the disk and, until all shards are read, what is for the host is written to files; how fast that disk "
    "writes is not known, here as fast as it reads";

constexpr Figure ToLoad(double seconds, std::string_view printed) {
  return {.what = Quantity::kLoadSeconds, .value = seconds, .below = 0.05, .above = 0.05, .printed = printed};
}

constexpr auto kLoadGptJHalf = std::to_array<Figure>({ToLoad(8.7, "8.7 s")});
constexpr auto kLoadGptJ = std::to_array<Figure>({ToLoad(12.4, "12.4 s")});
constexpr auto kLoadNeoXHalf = std::to_array<Figure>({ToLoad(30.9, "30.9 s")});
constexpr auto kLoadNeoX = std::to_array<Figure>({ToLoad(78.2, "78.2 s")});
constexpr auto kLoadT0 = std::to_array<Figure>({ToLoad(29.4, "29.4 s")});
constexpr auto kLoadOptHalf = std::to_array<Figure>({ToLoad(34.5, "34.5 s")});
constexpr auto kLoadOpt = std::to_array<Figure>({ToLoad(112.3, "112.3 s")});

constexpr auto kLoadRows = std::to_array<Row>({
    {.label = "GPT-J-6B float16",
     .model = "gpt-j-6b",
     .dtype = "fp16",
     .strategy = kFromTheMap,
     .figures = kLoadGptJHalf,
     .remark = kDiskRate,
     .load = kLoad},
    {.label = "GPT-J-6B float32",
     .model = "gpt-j-6b",
     .dtype = "fp32",
     .strategy = kFromTheMap,
     .figures = kLoadGptJ,
     .remark = kDiskRate,
     .load = kLoad},
    {.label = "GPT-NeoX-20B float16",
     .model = "gpt-neox-20b",
     .dtype = "fp16",
     .strategy = kFromTheMap,
     .figures = kLoadNeoXHalf,
     .remark = kDiskRate,
     .load = kLoad},
    {.label = "GPT-NeoX-20B float32",
     .model = "gpt-neox-20b",
     .dtype = "fp32",
     .strategy = kFromTheMap,
     .figures = kLoadNeoX,
     .remark = kFolderRate,
     .load = kLoad},
    {.label = "T0pp (11B) float32",
     .model = "t0pp",
     .dtype = "fp32",
     .strategy = kFromTheMap,
     .figures = kLoadT0,
     .remark = kDiskRate,
     .load = kLoad},
    {.label = "OPT-30B float16",
     .model = "opt-30b",
     .dtype = "fp16",
     .strategy = kFromTheMap,
     .figures = kLoadOptHalf,
     .load = kLoad},
    {.label = "OPT-30B float32",
     .model = "opt-30b",
     .dtype = "fp32",
     .strategy = kFromTheMap,
     .figures = kLoadOpt,
     .remark = kFolderRate,
     .load = kLoad},
});

constexpr Table kModelLoading = {
    .id = "accelerate-load-times",
    .title = "accelerate: loading the same models",
    .source = "the same table, model load time",
    .method =
        "from_pretrained with device_map=\"auto\"; pickled shards, read whole (--load by-shard:bin); none of the "
        "constants is of these rows",
    .machine = &kTitans,
    .rows = kLoadRows,
};

// ---- one T4

constexpr auto kT4Constants = std::to_array<Constant>({
    {"pageable copies to the GPU", "6.2 GB/s", "computed", "the hardware table's for PCIe 3.0"},
    {"device memory and FLOPs", "t4 of the hardware table", "published", "see docs/machine.md"},
});

constexpr Machine kT4 = {
    .id = "one-t4", .gpus = "t4", .cpu = "208GB", .disk = "1500GB", .profile = "", .constants = kT4Constants};

constexpr auto kOpt67B = std::to_array<Figure>({Rate(25.12, 0.005, "25.12 tok/s")});
constexpr auto kOpt30B = std::to_array<Figure>({Rate(0.62, 0.005, "0.62 tok/s")});
constexpr auto kOpt175B = std::to_array<Figure>({Rate(0.01, 0.005, "0.01 tok/s")});

// Its script's maps: all layers off the GPU, so that the batch may be larger.
constexpr std::string_view kLayersOnHost =
    R"(device-map:{"model.decoder.embed_tokens": 0, "model.decoder.embed_positions": 0,)"
    R"( "model.decoder.final_layer_norm": "cpu", "model.decoder.layers": "cpu", "lm_head": 0})";
constexpr std::string_view kLayersOnDisk =
    R"(device-map:{"model.decoder.embed_tokens": 0, "model.decoder.embed_positions": 0,)"
    R"( "model.decoder.final_layer_norm": "disk", "model.decoder.layers": "disk", "lm_head": 0})";

constexpr auto kFlexRows = std::to_array<Row>({
    {"OPT-6.7B, on the GPU", "opt-6.7b", "fp16", "torch-resident", 2, 512, 32, kOpt67B, 0, 0,
     "seven tenths of it are 31 passes over 13.3 GB at the table's 234 GB/s, which is a copy's rate; kernels that only "
     "read may "
     "be quicker"},
    {"OPT-30B, on the CPU", "opt-30b", "fp16", kLayersOnHost, 8, 512, 32, kOpt30B, 0, 0,
     "the layers cross the link at 4.9 GB/s: a cloud machine's cores copy pageable memory more slowly than the other's "
     "6.2, "
     "and nothing else published says how much"},
    {"OPT-175B, on the disk", "opt-175b", "fp16", kLayersOnDisk, 2, 512, 32, kOpt175B},
});

constexpr Table kFlexLlmGen = {
    .id = "flexllmgen-accelerate",
    .title = "FlexLLMGen's comparison: the rows of accelerate on one T4",
    .source = "FMInference/FlexLLMGen, README: one T4 of 16 GB, 208 GB of DRAM, 1.5 TB of SSD",
    .method =
        "prompt 512, output 32; tokens of all sequences over the time of prefill and decode; its script's device maps",
    .machine = &kT4,
    .rows = kFlexRows,
};

}  // namespace

const Table& BigModelInference() { return kBigModelInference; }
const Table& ModelLoading() { return kModelLoading; }
const Table& FlexLlmGen() { return kFlexLlmGen; }

}  // namespace stowage::published

// What vLLM's log said of its cache.
#include <array>

#include "reports/published/published.h"

namespace stowage::published {
namespace {

constexpr auto kRuns = std::to_array<VllmRun>({
    {.model = "llama-3.1-8b",
     .dtype = "bf16",
     .card = "rtx4090",
     .version = "0.19.0",
     .source = "LLMServingSim, profile of an RTX 4090, vllm_run_meta.json (2026-08-20)",
     .device_bytes = 25'250'627'584,
     .utilization = 0.9,
     .batched_tokens = 2048,
     .sequences = 256,
     .block = 16,
     .kv_tokens = 41'408},
});

}  // namespace

std::span<const VllmRun> VllmRuns() { return kRuns; }

}  // namespace stowage::published

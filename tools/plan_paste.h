// Lines for other programs that come nearest to a plan: transformers' from_pretrained call, llama.cpp's -ngl and -ot.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/strategy/strategy.h"
#include "reports/plan_report.h"

namespace stowage {

// `resident`: with transformers all weights fit into gpu0. Nothing for a model that neither program loads.
std::vector<PasteBlock> PasteFor(const PlanningTask& task, bool resident);

// How a GGUF is divided between one GPU and the CPU. llama.cpp counts the output layer first: -ngl 1 is the output alone,
// -ngl n the output and the last n - 1 blocks; the input table always stays on the CPU.
struct LlamaCppSplit {
  std::int64_t gpu_layers = 0;     // -ngl
  std::int64_t layers = 0;         // blocks and the output: all
  std::int64_t expert_blocks = 0;  // of the first blocks, whose experts stay on the CPU; 0: no -ot
  Bytes gpu;                       // what it takes there, reservations included
  Bytes budget;
};

// The most layers that gpu0's budget holds: their weights, their caches in f16, llama.cpp's compute buffer for batches of
// at most 512 tokens with flash attention, and the context. A mixture of experts whose other weights fit keeps all layers
// there, and as many experts as there is room for.
LlamaCppSplit SplitForLlamaCpp(const PlanningTask& task);

}  // namespace stowage

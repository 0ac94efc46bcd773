// What Stowage says of a published run: the same model, machine and request, lowered by the strategy that did what was
// measured, and simulated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"
#include "reports/published/published.h"

namespace stowage {

struct PredictedRow {
  const published::Row* row = nullptr;
  std::vector<std::optional<double>> values;  // one for each figure of the row, in its unit
  std::string why_not;                        // when there are none
};

std::vector<PredictedRow> Predict(const published::Table& table);

// What is left of a vLLM's share of the card for its cache, and of what that was taken.
struct PredictedVllm {
  Bytes budget;  // the share
  Bytes weights;
  Bytes context;      // of the driver and of libraries
  Bytes activations;  // of the widest moment of a pass of max_num_batched_tokens rows, fused
  // Of max_num_seqs rows while they are sampled, when activations are gone: logits in the model's dtype and widened to
  // fp32, their probabilities, a random number for each (vLLM's sampler without a library, as its profiling run calls it).
  Bytes sampling;
  Bytes per_token;
  std::int64_t tokens = 0;  // whole blocks
};

Result<PredictedVllm> Predict(const published::VllmRun& run);

}  // namespace stowage

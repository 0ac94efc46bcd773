// What transformers computed from a golden model: ../shared/data/golden/<model>/golden.{json,safetensors}.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"

namespace stowage {

struct GoldenFile {
  std::vector<std::int64_t> prompt;
  std::vector<std::int64_t> generated;
  std::vector<float> logits;  // fp32 [1, prompt tokens, vocab]
  float bf16_difference = 0;  // largest, of transformers' own bf16 logits to its fp32 ones
};

// The golden of a model's folder, or of the folder above it (sharded copies).
Result<GoldenFile> ReadGolden(const std::string& folder);

}  // namespace stowage

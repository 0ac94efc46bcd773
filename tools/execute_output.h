// What `execute` writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/request.h"
#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

// logits: fp32 [batch, prompt tokens, vocab], as one tensor "logits" of a safetensors file.
Status WriteLogits(const std::string& path, const std::vector<float>& logits, const Request& request,
                   std::int64_t vocab);

// The five copies, reads and kernels whose summed durations the prediction is most wrong about, as a table; empty without
// any. Both
// timelines need their spans.
std::string StepErrorsText(const Schedule& schedule, const Timeline& predicted, const Timeline& measured);

std::vector<std::int64_t> FlatTokens(const std::vector<std::vector<std::int64_t>>& tokens);  // sequence 0 first
std::string TokensText(const std::vector<std::vector<std::int64_t>>& tokens);  // "tokens: 1 2 3", a line a sequence

}  // namespace stowage

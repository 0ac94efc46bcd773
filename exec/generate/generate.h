// A native schedule of a language model, run: prompt in, tokens and logits out.
//
// The lowering's buffers are found by name: "prompt" (int32 [prompt tokens, batch]), the rope frequencies
// ("<tensor>@host"), "tokens_out" (int32 [prompt + new, batch]) and "logits_out" (dtype [prompt tokens, batch, vocab]).
// A batch cut into micro-batches has "prompt.0", "tokens_out.0", … of its parts.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/run/execute.h"
#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

struct Generated {
  std::vector<std::vector<std::int64_t>> tokens;  // the new ones, by sequence
  std::vector<float> logits;                      // fp32 [batch, prompt tokens, vocab]; empty unless request.all_logits
  Timeline measured;
};

// `prompt`: one list of request.prompt_tokens ids per sequence, each below the vocabulary's size. Everything the
// schedule says happens; see Execute.
Result<Generated> Generate(const Model& model, const Request& request, const Schedule& schedule, DeviceSet& devices,
                           const std::vector<std::vector<std::int64_t>>& prompt, const ExecuteOptions& options);

}  // namespace stowage

// What `execute` writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/request.h"

namespace stowage {

// logits: fp32 [batch, prompt tokens, vocab], as one tensor "logits" of a safetensors file.
Status WriteLogits(const std::string& path, const std::vector<float>& logits, const Request& request,
                   std::int64_t vocab);

std::vector<std::int64_t> FlatTokens(const std::vector<std::vector<std::int64_t>>& tokens);  // sequence 0 first
std::string TokensText(const std::vector<std::vector<std::int64_t>>& tokens);  // "tokens: 1 2 3", a line a sequence

}  // namespace stowage

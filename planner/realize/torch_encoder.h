// What the encoders' families share. An encoder has one kind of pass, a prefill: nothing is cached. Internal to
// planner/realize.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// Refuses a decode pass.
Status CheckIsPrefill(const TorchWords& t);

// scaled_dot_product_attention by a fused kernel, of `queries` and `keys` positions a sequence: the output, which is as
// wide as the query, and the log-sum-exp, which goes at once.
struct AttentionSize {
  std::int64_t heads, queries;
  Count keys;
  bool causal = false;
};
Ref FusedAttention(TorchWords& t, const Ref& query, const Ref& key, const Ref& value, const Ref& mask,
                   AttentionSize size);

// The members of a ModuleList of the module that runs.
std::vector<ModuleId> Members(TorchWords& t, std::string_view list);

Ref PlainMlp(TorchWords& t, const Ref& x);  // mlp: fc2(activation_fn(fc1(x)))

// nn.Conv1d, nn.Conv2d with a bias: `positions` of each channel of the result, of kernels over the whole input depth.
Ref Convolution(TorchWords& t, std::string_view name, const Ref& x, std::int64_t positions);

}  // namespace stowage::torch_eager

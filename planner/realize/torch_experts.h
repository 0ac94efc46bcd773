// Experts of sparse layers, as transformers 5.23 runs them by default (experts_implementation "grouped_mm",
// integrations/moe.py): rows are sorted by expert and all experts multiply in one kernel. So no size depends on the
// routing; what the kernel reads does. Its bytes are those of the expected number of distinct experts, if every token
// chose its experts uniformly and without regard to the others. Internal to planner/realize.
#pragma once

#include <string_view>
#include <utility>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// What a router returns.
struct Routing {
  Ref logits;   // the caller's `_`
  Ref weights;  // [rows, experts_per_token], in fp32 or the model's dtype
  Ref indices;
};

enum class ExpertsText {
  kGated,   // gate_up_proj [E, 2 I, h] in halves, down_proj [E, h, I], act_fn
  kGptOss,  // transposed and interleaved, with biases; clamped swiglu
};

// The module `name`, over [rows, h]. Refuses (TorchWords::Fail) rows that are not multiples of 16 bytes: the kernel does.
Ref RunExperts(TorchWords& t, std::string_view name, const Ref& hidden_states, const Routing& routing,
               ExpertsText text);

// torch.topk and torch.sort: two results of one kernel.
std::pair<Ref, Ref> TopK(TorchWords& t, const Ref& x, std::int64_t count);

// Refuses output_router_logits, and more experts a token than there are.
Status CheckRouter(const TorchWords& t);

bool IsSparse(const TorchWords& t, std::string_view block);  // whether the module that runs has experts in `block`

// mlp: MixtralSparseMoeBlock; Qwen3MoeSparseMoeBlock or, in dense layers, Qwen3MoeMLP.
Ref MixtralMoe(TorchWords& t, const Ref& x);
Ref Qwen3Moe(TorchWords& t, const Ref& x);

// E (1 - (1 - k / E)^tokens).
double ExpectedExperts(std::int64_t experts, std::int64_t per_token, std::int64_t tokens);

}  // namespace stowage::torch_eager

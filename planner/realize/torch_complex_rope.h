// Rotary embeddings in complex numbers, as modeling_llama4.py and modeling_deepseek_v2.py (transformers 5.23) have them.
// A complex64 element counts as two of fp32. Internal to planner/realize.
#pragma once

#include <utility>

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// Llama4TextRotaryEmbedding, DeepseekV2RotaryEmbedding: freqs_cis, in `cos`; `sin` is empty.
Rotary ComplexRotaryEmbedding(TorchWords& t, const Ref& position_ids, bool sliding);

// Whether apply_rotary_emb narrows each product at once (deepseek_v2) or both on return (llama4).
enum class ComplexText { kOneByOne, kTogether };

// apply_rotary_emb.
std::pair<Ref, Ref> RotateComplex(TorchWords& t, const Ref& xq, const Ref& xk, const Ref& freqs_cis, ComplexText text);

}  // namespace stowage::torch_eager

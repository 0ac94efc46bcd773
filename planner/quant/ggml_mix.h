// The ggml type that llama.cpp's quantizer gives each tensor: a mix for most schemes.
//
// Source: llama.cpp, src/llama-quant.cpp of 2026 (tensor_allows_quantization, llama_tensor_get_type_impl,
// tensor_type_fallback) without an importance matrix, and convert_hf_to_gguf.py for what stays in fp32. In short:
//   - vectors, norms, routers, positions and convolutions are fp32;
//   - the head, or the table that serves as one, is q6_k (q8_0 with q8_0, for falcon, and where no block fits);
//   - attn_v and ffn_down get more bits in the first and last eighth of the layers and every third between (q4_k_m,
//     q5_k_m), or in the first layers (q3_k_m, q4_k_s, iq4); q2_k and q3_k give them and attn_output the next type up;
//   - with 8 experts attn_k and attn_v are q8_0, attn_output q5_k;
//   - a row that is no multiple of the block takes the next type of 32 (q4_k: q5_0, q5_k: q5_1, q6_k: q8_0, q2_k and
//     q3_k: q4_0), and fp16 when that does not divide it either.
// A vision tower would go into a file of its own (mmproj) in fp16, which is what it takes here.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/model/model.h"
#include "planner/quant/scheme.h"
#include "planner/quant/tensor_role.h"

namespace stowage {

// By TensorId: the type of each parameter that owns its storage.
std::vector<DType> GgmlTypes(const Model& model, const std::vector<TensorFacts>& facts, const QuantScheme& scheme);

// What a row of k elements that should get `wanted` gets.
DType FallbackFor(DType wanted, std::int64_t k);

}  // namespace stowage

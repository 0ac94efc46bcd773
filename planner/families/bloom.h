// BLOOM (transformers' BloomForCausalLM and BloomModel, 5.23): alibi, a norm after the embedding, fused qkv.
//
//   transformer BloomModel           (original hub files have no "transformer.")
//   |- word_embeddings [V, h]   word_embeddings_layernorm
//   |- h.i BloomBlock                the no-split block
//   |  |- input_layernorm   self_attention query_key_value [3h, h] dense [h, h]   post_attention_layernorm
//   |  `- mlp dense_h_to_4h [4h, h] dense_4h_to_h [h, 4h]
//   `- ln_f
//   lm_head [V, h]                   tied to word_embeddings unless tie_word_embeddings is false
//
// The published configs name no dtype and every published checkpoint has 16 bits an element, so bf16 is assumed where
// the file says nothing.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildBloom(const HfConfig& config, std::string name);

}  // namespace stowage

// Falcon (transformers' FalconForCausalLM and FalconModel, 5.23), and the same networks under the names of the code they
// were published with: model_type RefinedWeb (40b) and RefinedWebModel (7b, rw-1b), classes RWForCausalLM and RWModel,
// keys n_layer, n_head, n_head_kv.
//
//   transformer FalconModel
//   |- word_embeddings [V, h]
//   |- h.i FalconDecoderLayer        the no-split block
//   |  |- self_attention query_key_value [r, h] dense [h, h]                     (bias: bias)
//   |  |- mlp dense_h_to_4h [I, h] dense_4h_to_h [h, I]                          I = ffn_hidden_size or 4 h
//   |  `- norms                      parallel_attn false: post_attention_layernorm, input_layernorm;
//   |                                two of them in parallel: ln_attn, ln_mlp; else input_layernorm
//   |- ln_f
//   `- rotary_emb                    with alibi too: buffers inv_freq, original_inv_freq fp32 [d / 2], in no checkpoint
//   lm_head [V, h]                   tied to word_embeddings unless tie_word_embeddings is false
//
// r = (H + 2 KV) d with new_decoder_architecture (40b, 180b), h + 2 d with multi_query (7b), 3 h otherwise. The norms
// are two by num_ln_in_parallel_attn, which is 2 if absent in the new architecture.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildFalcon(const HfConfig& config, std::string name);

}  // namespace stowage

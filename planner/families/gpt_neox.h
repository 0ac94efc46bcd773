// GPT-NeoX, Pythia, RedPajama (transformers' GPTNeoXForCausalLM and GPTNeoXModel, 5.23): fused qkv interleaved by head,
// rotary on the first rotary_pct of a head.
//
//   gpt_neox GPTNeoXModel
//   |- embed_in [V, h]   emb_dropout
//   |- layers.i GPTNeoXLayer         the no-split block
//   |  |- input_layernorm, post_attention_layernorm, two dropouts
//   |  |- attention query_key_value [3h, h] dense [h, h]                         (bias: attention_bias, true if absent)
//   |  `- mlp dense_h_to_4h [I, h] dense_4h_to_h [h, I]
//   |- final_layer_norm
//   `- rotary_emb                    buffers inv_freq, original_inv_freq fp32, in no checkpoint
//   lm_head [V, h]                   embed_out in files: transformers 5 renames it as it loads, and back as it saves
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildGptNeoX(const HfConfig& config, std::string name);

}  // namespace stowage

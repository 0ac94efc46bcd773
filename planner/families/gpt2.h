// GPT-2 (transformers' GPT2LMHeadModel and GPT2Model, 5.23): learned positions, one fused qkv, Conv1D weights [in, out].
//
//   transformer GPT2Model            (checkpoints of GPT2Model, and the original hub files, have no "transformer.")
//   |- wte [V, h]   wpe [n_positions, h]   drop
//   |- h.i GPT2Block                 the no-split block
//   |  |- ln_1   attn c_attn [h, 3h] c_proj [h, h]   ln_2
//   |  |- crossattention c_attn [h, 2h] q_attn [h, h] c_proj, ln_cross_attn      (add_cross_attention)
//   |  `- mlp c_fc [h, I] c_proj [I, h]                                          I = n_inner or 4 h
//   `- ln_f
//   lm_head [V, h]                   tied to wte unless tie_word_embeddings is false
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildGpt2(const HfConfig& config, std::string name);

}  // namespace stowage

// GPT-J (transformers' GPTJForCausalLM and GPTJModel, 5.23): one norm a block, rotary on the first rotary_dim dimensions
// of a head, no biases in attention, a bias on the head, which is not tied by default.
//
//   transformer GPTJModel
//   |- wte [V, h]   drop
//   |- h.i GPTJBlock                 the no-split block
//   |  |- ln_1   attn (buffer embed_positions fp32 [n_positions, rotary_dim], in no checkpoint) k, v, q, out_proj [h, h]
//   |  `- mlp fc_in [I, h] fc_out [h, I]                                         I = n_inner or 4 h
//   `- ln_f
//   lm_head weight [V, h] bias [V]
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildGptJ(const HfConfig& config, std::string name);

}  // namespace stowage

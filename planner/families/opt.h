// OPT (transformers' OPTForCausalLM and OPTModel, 5.23).
//
//   model OPTModel                   (absent in checkpoints of OPTModel)
//   `- decoder OPTDecoder
//      |- embed_tokens [V, p]   embed_positions [max_position_embeddings + 2, h]   p = word_embed_proj_dim, h if absent
//      |- project_out [p, h], project_in [h, p]                                  only when p != h (opt-350m)
//      |- final_layer_norm           only with do_layer_norm_before, without _remove_final_layer_norm
//      `- layers.i OPTDecoderLayer   the no-split block
//         |- self_attn k, v, q, out_proj [h, h]
//         `- self_attn_layer_norm, fc1 [I, h], fc2 [h, I], final_layer_norm
//   lm_head [V, p]                   tied to embed_tokens unless tie_word_embeddings is false
//
// enable_bias false drops the biases of the layers' linears, layer_norm_elementwise_affine false the norms' weights.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildOpt(const HfConfig& config, std::string name);

}  // namespace stowage

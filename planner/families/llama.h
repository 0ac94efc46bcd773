// Llama 2, 3, 3.1 and 3.2: the module tree and the tensors of transformers' LlamaForCausalLM and LlamaModel (5.23),
// derived from the fields of config.json alone. With h = hidden, H/KV = heads, d = head_dim, I = intermediate, V =
// vocab:
//
//   LlamaForCausalLM
//   |- model LlamaModel                              (LlamaModel checkpoints have no "model." prefix and no head)
//   |  |- embed_tokens Embedding                     weight [V, h]
//   |  |- layers ModuleList
//   |  |  `- i LlamaDecoderLayer                     the no-split block
//   |  |     |- self_attn LlamaAttention             q [H d, h]  k, v [KV d, h]  o [h, H d]   (bias: attention_bias)
//   |  |     |- mlp LlamaMLP                         gate, up [I, h]  down [h, I]  act_fn     (bias: mlp_bias)
//   |  |     |- input_layernorm LlamaRMSNorm         [h]
//   |  |     `- post_attention_layernorm             [h]
//   |  |- norm LlamaRMSNorm                          [h]
//   |  `- rotary_emb                                 buffers inv_freq, original_inv_freq fp32 [d / 2], in no checkpoint
//   `- lm_head Linear                                weight [V, h], shares embed_tokens' when tied
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

struct LlamaConfig {
  TransformerShape shape;
  RopeScaling rope;
  DType dtype = DType::kF32;  // torch's default, which holds when the file names none
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool head = true;  // LlamaForCausalLM; false: LlamaModel
};

// Reads both spellings (dtype/torch_dtype, rope_parameters or rope_theta with rope_scaling, rope_type/type).
Result<LlamaConfig> ReadLlamaConfig(const HfConfig& config);

// What LlamaConfig and transformers require of each other; `where` starts the message.
Status CheckLlamaConfig(const LlamaConfig& config, const std::string& where);

// `config` must have passed CheckLlamaConfig.
Model BuildLlama(const LlamaConfig& config, std::string name);

}  // namespace stowage

// The encoders of T5, mT5 and UMT5 (transformers' T5EncoderModel, MT5EncoderModel, UMT5EncoderModel, 5.23), the text
// encoders of image and video models. Whatever of the family a config names (T5ForConditionalGeneration), the encoder is
// what is built.
//
//   shared [V, h]
//   encoder T5Stack
//   |- embed_tokens [V, h]           tied to shared, whatever tie_word_embeddings says
//   |- block.i T5Block               the no-split block
//   |  `- layer
//   |     |- 0 T5LayerSelfAttention  SelfAttention q, k, v [H d, h] o [h, H d], relative_attention_bias [buckets, H] in
//   |     |                          block 0 only (UMT5: every block), layer_norm [h]
//   |     `- 1 T5LayerFF             DenseReluDense wi [I, h] or, gated, wi_0, wi_1; wo [h, I]; layer_norm [h]
//   `- final_layer_norm [h]
//
// Gated by feed_forward_proj ("gated-gelu"), else by is_gated_act, else by the class default (T5: relu, the others
// gated-gelu).
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildT5Encoder(const HfConfig& config, std::string name);

}  // namespace stowage

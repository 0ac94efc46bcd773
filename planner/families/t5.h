// T5, mT5 and UMT5 (transformers' T5EncoderModel, T5Model, T5ForConditionalGeneration and their kin, 5.23): the text
// encoders of image and video models, and encoder-decoders (T5, Flan-T5, T0). `architectures` says which; without it, the
// encoder.
//
//   shared [V, h]
//   encoder T5Stack
//   |- embed_tokens [V, h]           tied to shared
//   |- block.i T5Block               the no-split block
//   |  `- layer
//   |     |- 0 T5LayerSelfAttention  SelfAttention q, k, v [H d, h] o [h, H d], relative_attention_bias [buckets, H] in
//   |     |                          block 0 only (UMT5: every block), layer_norm [h]
//   |     `- 1 T5LayerFF             DenseReluDense wi [I, h] or, gated, wi_0, wi_1; wo [h, I]; layer_norm [h]
//   `- final_layer_norm [h]
//   decoder T5Stack                  num_decoder_layers blocks; between the two, layer has
//   |     1 T5LayerCrossAttention    EncDecAttention q, k, v, o, layer_norm [h]
//   lm_head [V, h]                   of ForConditionalGeneration: tied to shared
//
// Gated by feed_forward_proj ("gated-gelu"), else by is_gated_act, else by the class default (T5: relu, the others
// gated-gelu). Model::shape describes the decoder where there is one; it caches keys and values of itself and of the
// encoder's rows.
//
// Ties. transformers 5 ties the tables and the head whatever tie_word_embeddings says. When both shared and lm_head are
// in the files with different values, from_pretrained leaves them apart: those of T5 v1.1 and later, whose
// tie_word_embeddings is false. Such a model is tied as built from its config (as the class is) and untied once it is
// known that the files hold a head (AttachCheckpoint, the zoo): ForwardFacts::own_head_in_files.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildT5(const HfConfig& config, std::string name);

}  // namespace stowage

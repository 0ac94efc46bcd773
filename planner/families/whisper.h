// Whisper (transformers' WhisperForConditionalGeneration and WhisperModel, 5.23).
//
//   model WhisperModel
//   |- encoder WhisperEncoder          conv1 [h, mel, 3], conv2 [h, h, 3], embed_positions [source positions, h],
//   |  |                               layers.i, layer_norm
//   |  `- WhisperEncoderLayer          self_attn, activation_fn, fc1, fc2 and their norms
//   `- decoder WhisperDecoder          embed_tokens [V, h], embed_positions [target positions, h], layers.i, layer_norm
//      `- WhisperDecoderLayer          the same with encoder_attn
//   proj_out [V, h]                    tied to decoder.embed_tokens unless tie_word_embeddings is false
//
// k_proj has no bias. Model::shape describes the decoder, whose self-attention cache grows by the token.
// No-split: WhisperDecoderLayer, WhisperEncoderLayer.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildWhisper(const HfConfig& config, std::string name);

}  // namespace stowage

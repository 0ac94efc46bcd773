// Gemma 3 with its SigLIP tower, as the hub's files name it (transformers 5 renames on load: language_model.model ->
// model.language_model, vision_tower.vision_model -> model.vision_tower, and lm_head to the top):
//
//   Gemma3ForConditionalGeneration
//   |- vision_tower SiglipVisionModel
//   |  `- vision_model SiglipVisionTransformer       v = vision hidden_size, p = patch_size
//   |     |- embeddings SiglipVisionEmbeddings       patch_embedding [v, 3, p, p], position_embedding [(image / p)^2, v]
//   |     |- encoder SiglipEncoder                   layers.i SiglipEncoderLayer, all with biases
//   |     |- post_layernorm
//   |     `- head                                    only with vision_use_head
//   |- multi_modal_projector                         mm_input_projection_weight [v, h], mm_soft_emb_norm [v]
//   `- language_model Gemma3ForCausalLM              the tree of decoder.h
#pragma once

#include <string>
#include <vector>

#include "planner/families/decoder.h"

namespace stowage {

Result<DecoderConfig> ReadGemma3Text(const HfConfig& config);
void Gemma3Layer(DecoderTree& t, std::int64_t layer);
// One list for the text model and the whole.
std::vector<std::string> Gemma3NoSplit();

}  // namespace stowage

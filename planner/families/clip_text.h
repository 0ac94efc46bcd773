// The text tower of CLIP and OpenCLIP (transformers' CLIPTextModel and CLIPTextModelWithProjection), also from the
// text_config of a whole CLIP's config. Names are those of checkpoints; transformers 5 drops the "text_model" of
// CLIPTextModel in memory.
//
//   text_model CLIPTextTransformer
//   |- embeddings CLIPTextEmbeddings   token_embedding [V, h], position_embedding [P, h], buffer position_ids int64 [1, P]
//   |- encoder.layers.i CLIPEncoderLayer
//   |  |- self_attn k, v, q, out_proj [h, h]   layer_norm1
//   |  `- mlp fc1 [I, h] fc2 [h, I]   layer_norm2
//   `- final_layer_norm
//   text_projection [projection_dim, h]   WithProjection only, no bias
//
// No-split: CLIPTextEmbeddings, CLIPEncoderLayer.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildClipText(const HfConfig& config, std::string name);

}  // namespace stowage

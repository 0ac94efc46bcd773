// ViT (transformers' ViTForImageClassification and ViTModel). Names and tree are those of checkpoints; transformers 5
// loads them into other modules (encoder.layer.i.attention.attention.query becomes layers.i.attention.q_proj).
//
//   vit ViTModel                       (absent in checkpoints of ViTModel, which have a pooler instead of the classifier)
//   |- embeddings ViTEmbeddings        cls_token [1, 1, h], position_embeddings [1, patches + 1, h],
//   |                                  patch_embeddings.projection [h, channels, patch, patch]
//   |- encoder.layer.i ViTLayer        attention.attention query, key, value [h, h] (bias: qkv_bias),
//   |                                  attention.output.dense, intermediate.dense [I, h], output.dense [h, I],
//   |                                  layernorm_before, layernorm_after
//   `- layernorm
//   classifier [labels, h]             labels: id2label, else num_labels, else 2
//
// No-split: ViTEmbeddings, ViTLayer.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/model.h"

namespace stowage {

Result<Model> BuildVit(const HfConfig& config, std::string name);

}  // namespace stowage

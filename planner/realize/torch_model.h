// A model as transformers 5.23 holds it in memory. A Model is the tree of its checkpoint; the classes differ from it in
// places, and eager torch runs the classes:
//
//   checkpoint                                            memory
//   mlp.experts.0.{gate,up,down}_proj.weight, 1, ...      mlp.experts.gate_up_proj [E, 2 I, h], down_proj [E, h, I]
//   block_sparse_moe.{gate, experts.e.{w1,w2,w3}}         mlp.{gate, experts} (mixtral)
//   gate.e_score_correction_bias, a parameter             a buffer (deepseek)
//   text_model.embeddings (CLIPTextModel)                 embeddings; with a projection the prefix stays
//   encoder.layer.0.attention.attention.query, ... (ViT)   layers.0.attention.q_proj, ...
//   vision_tower.vision_model (Gemma 3)                    model.vision_tower, and multi_modal_projector beside it
//   language_model.{model, lm_head} (Gemma 3)              model.language_model, lm_head
//   weights in fp8 or mxfp4, with scales                  as they are, or plain ones of `dtype`
#pragma once

#include <optional>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

// `dtype`: what from_config(dtype=) or from_pretrained(dtype=) is asked for; all floating parameters take it and packed
// weights are unpacked. Absent: each tensor keeps its own. Tensors that are stacked of several have no FileSlice.
// kInvalidInput: packed weights without a dtype, experts that are not alike.
Result<Model> AsTransformersHolds(const Model& model, std::optional<DType> dtype = std::nullopt);

// The class that AutoModel picks where the checkpoint's has a head that is no language model's: CLIPTextModel without its
// projection. The trace recorder builds that.
Model WithoutProjection(Model model);

}  // namespace stowage

// A model out of a GGUF checkpoint. GGUF keeps no Python modules, so the tree follows the tensors' names:
//
//   Gguf
//   |- token_embd                GgufOp           weight
//   |- blk                       GgufLayers
//   |  |- blk.0                  GgufLayer        <- the no-split block
//   |  |  |- blk.0.attn_q        GgufOp           weight (, bias)
//   ...
// Tensors keep llama.cpp's names and their stored types; their rows of q and k are in llama.cpp's order.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/gguf_checkpoint.h"
#include "planner/model/model.h"

namespace stowage {

// Model::family is "gguf/" and general.architecture. For the architecture llama Model::shape is filled, so that the
// cache has a size; for others, and for a llama whose layers differ in their key-value heads, shape stays all zeros:
// weights only.
Result<Model> BuildGgufModel(GgufCheckpoint checkpoint);

}  // namespace stowage

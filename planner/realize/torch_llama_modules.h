// Where the modules of transformers' Llama classes are in a model's tree. Internal to planner/realize.
#pragma once

#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage::torch_eager {

// kNoId where a mark is absent (see FindModules).
struct LayerModules {
  ModuleId layer, input_norm, attention, q, k, v, o, post_norm, mlp, gate, act, up, down;
};

struct LlamaModules {
  ModuleId root, base, embed, rotary, norm, head;
  std::vector<LayerModules> layers;
};

// Of LlamaForCausalLM, or of LlamaModel (no head; the root is the base). Modules without tensors (rotary_emb, act_fn)
// may be missing from the tree: they only mark events. kInvalidInput names the first other one that is missing.
Result<LlamaModules> FindModules(const Model& model);

}  // namespace stowage::torch_eager

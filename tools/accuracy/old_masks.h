// What a model held in memory by an older library.
#pragma once

#include <cstdint>

#include "planner/model/model.h"

namespace stowage {

// transformers 4.20 kept a causal mask [1, 1, side, side] in each attention of GPT-2, GPT-J and GPT-NeoX: a persistent
// buffer of uint8, which from_pretrained(device_map=...) turned into the model's dtype as it does with weights. It counts
// in a device map.
Model WithStoredMasks(const Model& model, std::int64_t side);

}  // namespace stowage

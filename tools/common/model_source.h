// --model as the tools take it: with this user's Hugging Face cache.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

// The folder of the hub's cache, as the hub's library finds it: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub,
// else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. "" when not even HOME is set.
std::string HubCacheFolder();

// planner/zoo's LoadModel over that cache.
Result<Model> LoadNamedModel(const std::string& what);

}  // namespace stowage

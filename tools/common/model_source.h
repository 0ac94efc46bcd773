// --model as the tools take it: with this user's Hugging Face cache.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/model/request.h"

namespace stowage {

// The folder of the hub's cache, as the hub's library finds it: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub,
// else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. "" when not even HOME is set.
std::string HubCacheFolder();

// planner/zoo's LoadModel over that cache.
Result<Model> LoadNamedModel(const std::string& what);

// The same in the format of --dtype, as transformers would hold it: with a note of what it keeps in fp32 (KeepInFp32).
// Without --dtype as the checkpoint has it.
Result<Model> LoadInFormat(const std::string& what, const Request& request);

}  // namespace stowage

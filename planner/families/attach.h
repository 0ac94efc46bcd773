// Joins a model built from a config with the headers of its checkpoint.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/checkpoint.h"
#include "planner/model/model.h"

namespace stowage {

// Fills Model::files and each tensor's source, and takes over the stored dtypes: the header knows what is there. Every
// saved tensor of the model must be in the checkpoint with its shape, and the checkpoint must hold nothing else, except
// tied copies and the rotary_emb.inv_freq buffers of files written before mid-2023, which the config gives again. Of a
// tied group one tensor is enough. kInvalidInput lists the first differences (the model is then half filled:
// drop it); `where` starts the message.
Status AttachCheckpoint(Model& model, const Checkpoint& checkpoint, const std::string& where);

}  // namespace stowage

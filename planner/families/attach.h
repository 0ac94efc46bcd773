// Joins a model built from a config with the headers of its checkpoint.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/model/model.h"

namespace stowage {

// Fills Model::files and each tensor's source, and takes over the stored dtypes: the header knows what is there. Every
// saved tensor of the model must be in the checkpoint with its shape, under its name or with transformers' base prefix
// added or left out (gpt2's files have no "transformer."); of a tied group one tensor is enough. kInvalidInput lists the
// first that are missing or differ (the model is then half filled: drop it); `where` starts the message.
//
// Tensors that nothing of the model takes become Model::unloaded, with a note, as do stored dtypes that are not the
// config's. Passed over in silence: tied copies, the heads of a class with a head while the model has none, and buffers
// that old versions stored and new ones compute (inv_freq, causal masks, position_ids).
//
// A model with ForwardFacts::own_head_in_files whose files hold table and head gets its head untied.
Status AttachCheckpoint(Model& model, const Checkpoint& checkpoint, const std::string& where);

// The same check of names alone, for an index whose shards are not read.
Status CheckNames(Model& model, const CheckpointIndex& index, const std::string& where);

// Gives the head of such a model, its last tensor, storage of its own, and notes it.
void UntieHead(Model& model);

}  // namespace stowage

// A model of which only the headers of its checkpoint are known: no class, no config that any family understands.
#pragma once

#include <string>

#include "planner/formats/checkpoint.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/model/model.h"

namespace stowage {

// One module per prefix of a tensor's dotted name, in order of first appearance, numbered siblings by number. Exact: names,
// shapes, dtypes, bytes, places. Not known: ties, buffers among the tensors, blocks, cache, operations. Model::family is
// "weights only"; Model::class_name says so with the reason: "weights only: model_type \"x\" is not known".
Model ModelFromHeaders(const Checkpoint& checkpoint, std::string name, const std::string& why);

// The same of an index alone: Model::names_only, every shape [0], Model::stated_bytes what the index states.
Model ModelFromNames(const CheckpointIndex& index, std::string name, const std::string& why);

}  // namespace stowage

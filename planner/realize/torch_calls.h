// What the modules of a pass are given, which accelerate's hooks copy to another GPU. Internal to planner/realize.
#pragma once

#include <cstddef>
#include <vector>

#include "planner/model/model.h"
#include "planner/realize/torch.h"

namespace stowage {

struct GivenCall {
  ModuleId module = kNoId;
  std::size_t enter = 0, exit = 0;  // events
  std::vector<StorageId> given;
};

// In the order of the calls.
std::vector<GivenCall> FindCalls(const TorchProgram& program, const Model& model);

// Of an encoder-decoder's pass: what the encoder makes, in the first one.
StorageId EncodedRows(const TorchProgram& program);

}  // namespace stowage

// Passes of a model whose modules are on several GPUs, as accelerate's dispatch_model runs them.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/realize/torch.h"

namespace stowage {

// Which GPUs a device map uses for what.
struct TorchDevices {
  std::vector<std::int16_t> tensors;  // by TensorId: where a parameter or buffer is when it is used
  std::vector<std::int16_t> modules;  // by ModuleId: where its hook moves what the module is given; -1: it has none
  std::int16_t main = 0;              // ids arrive there, results are moved back to it
};

// dispatch_model on several GPUs, after AddDispatchHooks where something is off them: the hook of each module copies
// the tensors it is given to the module's GPU (send_to_device), and the copies die when the module returns. Results stay
// where they were made, except the root's. So the rotary tables, made once, are copied for every layer on another GPU.
// past_key_values are skipped: each layer's cache is on its own GPU. Caches of the past get their GPU here too.
// kInvalidInput where torch would raise: an operator with operands on two GPUs.
Result<TorchProgram> SpreadOverGpus(TorchProgram program, const Model& model, const TorchDevices& devices);

}  // namespace stowage

// A realized pass as the traces of diffusers' hooks are written.
#pragma once

#include <string>
#include <vector>

#include "planner/realize/torch.h"

namespace stowage {

// One pass (of a decode program the first one) in the form of tests/peer/make_offload_traces.py: an event a line, the
// caller's release of the logits last.
std::vector<std::string> OffloadTrace(const TorchProgram& program);

}  // namespace stowage

// accelerate's cpu_offload_with_hook: a component moves to the GPU as a whole when it first runs, and back when the
// caller says so. A language model is one component: load, run, offload. Runtime: torch.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy ModelOffloadStrategy();  // "model-offload"; takes no parameters

}  // namespace stowage

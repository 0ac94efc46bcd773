// accelerate's cpu_offload: weights in pageable host memory; a hook on each module that owns some copies them to the
// GPU before its forward, flushing the cache after each tensor, and drops them after it. Runtime: torch.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy SequentialOffloadStrategy();  // "sequential-offload"; takes no parameters

}  // namespace stowage

// accelerate's device maps as from_pretrained(device_map=...) runs them on one GPU: what the map puts on "cpu" or "disk"
// is copied to the GPU by a hook on each module that owns it, before each use, and dropped after. Runtime: torch.
//
//   device-map:auto | balanced | balanced_low_0 | sequential   the maps of planner/solve/accelerate, budgets as the
//                                                              machine has them
//   device-map:optimal                                         the map of planner/solve/placement
//   device-map:{"model": 0, "lm_head": "cpu"}                  a map of the user's own
//
// A map with nothing on the GPU is refused: accelerate computes all of it on the CPU. So is one that puts tied weights
// apart, which transformers loads twice.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy DeviceMapStrategy();  // "device-map"

}  // namespace stowage

// accelerate's device maps as from_pretrained(device_map=...) runs them on one GPU: what the map puts on "cpu" or "disk"
// is copied to the GPU by a hook on each module that owns it, before each use, and dropped after. Runtime: torch.
//
//   device-map:auto                          and all other maps of device_map_homes.h
//   device-map:{"model": 0, "lm_head": "cpu"}
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy DeviceMapStrategy();  // "device-map"

}  // namespace stowage

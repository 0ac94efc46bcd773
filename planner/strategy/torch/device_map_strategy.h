// accelerate's device maps as from_pretrained(device_map=...) runs them: each module on the GPU that the map names, one
// GPU at work at a time. What the map puts on "cpu" or "disk" is copied to the main GPU, the lowest of the map, by a hook
// on each module that owns it, before each use, and dropped after. Runtime: torch.
//
//   device-map:auto                          and all other maps of device_map_homes.h
//   device-map:{"model": 0, "lm_head": "cpu"}
//   device-map:{"model": 0, "lm_head": 1}
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy DeviceMapStrategy();  // "device-map"

}  // namespace stowage

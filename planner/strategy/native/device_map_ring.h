// The residency of a device map, executed our way: what the map puts on the GPU stays there, the rest is prefetched
// through a ring from page-locked host memory, embedding tables gathered in place. Norms and biases stay on the GPU
// wherever the map has them, and what it has on the disk is in host memory too. A map over several GPUs is a chain
// (chain.h) and must have everything on them. Runtime: native.
//
//   device-map-ring:auto                           and all other maps of device_map_homes.h
//   device-map-ring:{"model": 0, "lm_head": "cpu"}
#pragma once

#include <string_view>

#include "planner/strategy/native/proposal.h"
#include "planner/strategy/strategy.h"

namespace stowage {

Result<NativeProposal> ProposeMap(const NativeModel& native, const PlanningTask& task, std::string_view map);

Strategy DeviceMapRingStrategy();  // "device-map-ring"

}  // namespace stowage

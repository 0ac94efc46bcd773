// Where a device map puts each weight of a model on a machine of one GPU; what the strategies that follow maps share.
//
//   auto | balanced | balanced_low_0 | sequential   accelerate's maps (planner/solve/accelerate), budgets as the machine
//                                                   has them
//   optimal                                         the map of planner/solve/placement
//   optimal:97 | optimal:94 | optimal:90            that for so many percent of the GPU's budget: an allocator that
//                                                   fragments needs the others
//   {"model": 0, "lm_head": "cpu"}                  a map of the user's own, in accelerate's JSON
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/strategy.h"

namespace stowage {

// Where a parameter stays between its uses.
enum class WeightHome : std::uint8_t { kDevice, kHost, kDisk };

// By TensorId; buffers are on the device. kInvalidInput: unknown words, a map that leaves out a tensor, puts tied weights
// apart or names a second GPU. kInfeasible: no map, or one with nothing on the GPU: accelerate computes all of such a
// model on the CPU.
Result<std::vector<WeightHome>> HomesOf(const PlanningTask& task, std::string_view map);

}  // namespace stowage

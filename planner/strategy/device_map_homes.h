// Where a device map puts each weight of a model; what the strategies that follow maps share.
//
//   auto | balanced | balanced_low_0 | sequential   accelerate's maps (planner/solve/accelerate), budgets as the machine
//                                                   has them
//   optimal                                         the map of planner/solve/placement
//   optimal:97 | optimal:94 | optimal:90            that for so many percent of the GPUs' budgets, since an allocator
//                                                   fragments, and for the host's less the largest tensor, which passes
//                                                   through it while loading
//   throughput                                      the one whose slowest GPU is fastest
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

struct DeviceMapHomes {
  std::vector<WeightHome> weights;  // by TensorId; buffers are on a device
  std::vector<std::int16_t> gpu;    // by TensorId: the GPU that computes with it; of a tied one, as its owner
  std::vector<std::int16_t>
      module;             // by ModuleId: the GPU where the map has it computed; -1: it has no entry for the whole
  std::int16_t main = 0;  // the lowest GPU of the map: it computes what is off the GPUs
  // Whether accelerate's dispatch_model would attach a hook to a module, by ModuleId: what has an entry, and all within
  // that holds something of a state_dict.
  std::vector<bool> hooked;

  bool OneGpu() const;  // nothing is computed on any but gpu0
};

// kInvalidInput: unknown words, a map that leaves out a tensor, puts tied weights apart or names a GPU that the machine
// does not have. kInfeasible: no map, or one with nothing on a GPU: accelerate computes all of such a model on the CPU.
Result<DeviceMapHomes> HomesOf(const PlanningTask& task, std::string_view map);

}  // namespace stowage

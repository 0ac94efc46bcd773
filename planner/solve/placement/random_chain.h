// Random small problems for tests, and the chains of device_map.md's examples for tests and benchmarks.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "planner/solve/placement/placement.h"

namespace stowage {

struct RandomChainLimits {
  int units = 6;
  int devices = 3;
  int kinds = 3;          // of units; as many as units: all may differ
  std::int64_t room = 8;  // budgets up to about this many units
};

// Times are whole microseconds and sizes small integers, so that ties between placements are common.
PlacementProblem RandomChain(std::mt19937& random, const RandomChainLimits& limits);

// `devices` equal devices that hold everything given `budget`, with all links alike: 12 GB/s, 10 us.
PlacementProblem PlainChain(const std::vector<Bytes>& unit_weights, const std::vector<Bytes>& budgets,
                            Bytes host_budget, Bytes disk_budget);

}  // namespace stowage

// Orders of the devices for any_order. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/placement.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// The problem with its devices in another order: device i of the result is order[i] of `problem`.
PlacementProblem Permuted(const PlacementProblem& problem, const std::vector<std::int32_t>& order);

// Every order that differs by more than swapping devices alike, lexicographically by class of device.
class Orders {
 public:
  explicit Orders(const PlacementProblem& problem);
  bool Next();  // false when there are no more
  const std::vector<std::int32_t>& order() const { return order_; }

 private:
  std::vector<int> class_of_;  // a device
  std::vector<int> classes_;   // the current arrangement
  std::vector<std::int32_t> order_;
  bool started_ = false;
};

// No order is better than this: as many runs as there are devices, each on whichever device suits it best, hops free.
Time OrderFreeBound(const PlacementProblem& problem);

}  // namespace stowage::placement

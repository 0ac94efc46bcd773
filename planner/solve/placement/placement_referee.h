// Brute force: every way to place a small chain, priced with the rules of placement.h written a second time.
#pragma once

#include <optional>

#include "planner/solve/placement/placement.h"

namespace stowage {

// The best value over all placements (and all orders with any_order); nothing when none fits.
std::optional<double> BruteForcePlacement(const PlacementProblem& problem);

}  // namespace stowage

// The Pareto front: what no other choice beats in every respect.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace stowage {

using Costs = std::array<double, 3>;  // less is better; what they are is the caller's

// Indices of the points that no other is at least as good as everywhere and better than somewhere, in increasing order.
// Of equal points the first one stands for all. Quadratic: for hundreds of points.
std::vector<std::size_t> ParetoFront(const std::vector<Costs>& points);

}  // namespace stowage

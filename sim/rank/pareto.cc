#include "sim/rank/pareto.h"

namespace stowage {
namespace {

bool Beats(const Costs& a, const Costs& b, bool earlier) {
  bool better = earlier;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
    better |= a[i] < b[i];
  }
  return better;
}

}  // namespace

std::vector<std::size_t> ParetoFront(const std::vector<Costs>& points) {
  std::vector<std::size_t> front;
  for (std::size_t i = 0; i < points.size(); ++i) {
    bool beaten = false;
    for (std::size_t j = 0; j < points.size() && !beaten; ++j) {
      beaten = j != i && Beats(points[j], points[i], /*earlier=*/j < i);
    }
    if (!beaten) front.push_back(i);
  }
  return front;
}

}  // namespace stowage

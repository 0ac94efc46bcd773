#include "planner/base/nearest.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace stowage {

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string_view Nearest(std::string_view wanted, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongest = 64;
  wanted = wanted.substr(0, kLongest);
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(wanted.size() / 2, 1) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = EditDistance(wanted, candidate);
    if (distance < least) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}

}  // namespace stowage

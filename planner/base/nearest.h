// "Did you mean": the known word nearest to a misspelt one.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace stowage {

// Levenshtein's distance: insertions, deletions and replacements. Quadratic.
std::size_t EditDistance(std::string_view a, std::string_view b);

// The first candidate with the least distance to `wanted` (its first 64 bytes: nobody misspells more); empty when even
// that one differs in more than half of wanted's letters.
std::string_view Nearest(std::string_view wanted, std::span<const std::string_view> candidates);

}  // namespace stowage

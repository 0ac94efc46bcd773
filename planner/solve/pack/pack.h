// Static memory packing (dynamic storage allocation): items with a size and a lifetime get offsets in one arena so that
// no two that live at the same time overlap. NP-hard. The best of several greedy orders first; where that is above the
// lower bound, the most bytes alive at once, an exact search (skyline.h) tries to close the gap from both sides.
//
//   time ->   0   1   2   3
//   offset 0  [a a a]   [c]
//          8      [b b b b]        Pack({a 8 B [0,2], b 4 B [1,4], c 8 B [3,3]}) = 12 B, bound 12 B
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planner/base/units.h"

namespace stowage {

struct PackItem {
  Bytes size;
  std::int32_t first = 0;  // alive during [first, last], inclusive
  std::int32_t last = 0;
};

struct Packing {
  std::vector<Bytes> offsets;  // one an item, multiples of the alignment
  Bytes size;                  // of the arena
  Bytes lower_bound;           // no packing is smaller: the most (aligned) bytes alive at once, or what a search proved
  std::string order;           // the greedy order that won, or "search"
  std::int64_t steps = 0;      // decisions of the search

  double Gap() const;  // (size - lower_bound) / lower_bound, 0 for an empty arena
};

// Decisions after which Pack settles for what it has: milliseconds for hundreds of items. Greedy's answer for the
// activations of a transformer is optimal, so they take none.
inline constexpr std::int64_t kPackSteps = 2'000;

// alignment > 0; item sizes are rounded up to it. Deterministic. More steps are never worse.
Packing Pack(std::span<const PackItem> items, Bytes alignment, std::int64_t steps = kPackSteps);

enum class PackAnswer : std::uint8_t { kFits, kDoesNot, kOutOfSteps };

struct PackDecision {
  PackAnswer answer = PackAnswer::kOutOfSteps;
  std::vector<Bytes> offsets;  // of kFits
  std::int64_t steps = 0;      // taken
};

// Do the items fit within `capacity`? The search alone, without the greedy orders.
PackDecision PackWithin(std::span<const PackItem> items, Bytes alignment, Bytes capacity, std::int64_t steps);

}  // namespace stowage

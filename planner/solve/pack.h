// Static memory packing (dynamic storage allocation): items with a size and a lifetime get offsets in one arena so that
// no two that live at the same time overlap. NP-hard; this first packer takes the best of several greedy orders and
// prints how far that is from the lower bound, the most bytes alive at once.
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
  Bytes lower_bound;           // the most (aligned) bytes alive at once: no packing is smaller
  std::string order;           // the greedy order that won

  double Gap() const;  // (size - lower_bound) / lower_bound, 0 for an empty arena
};

// alignment > 0; item sizes are rounded up to it. Deterministic.
Packing Pack(std::span<const PackItem> items, Bytes alignment);

}  // namespace stowage

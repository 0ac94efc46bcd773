// Items as the search sees them: times that matter, sizes in their common unit. Private to this folder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planner/solve/pack/pack.h"

namespace stowage::packing {

// Alive in the sections [begin, end).
struct Block {
  int begin = 0;
  int end = 0;
  std::int64_t size = 0;    // units
  std::int64_t first = 0;   // as the item has it
  std::int64_t length = 0;  // of its life
};

// A section is a time whose live items are not all alive at a neighbouring one: what fits there fits everywhere.
struct Lifetimes {
  std::vector<Block> blocks;  // those with a size
  std::vector<int> item_of;   // a block
  int sections = 0;
  std::int64_t unit = 1;        // bytes: the greatest that divides all sizes
  std::int64_t most_alive = 0;  // units: no packing is smaller
};

Lifetimes LifetimesOf(std::span<const PackItem> items, Bytes alignment);

}  // namespace stowage::packing

// The greedy orders of static packing. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/solve/pack/lifetimes.h"

namespace stowage::packing {

struct Greedy {
  std::vector<std::int64_t> offsets;  // units, of each block
  std::int64_t size = 0;
  std::string order;
};

// The best of: largest size, area, length first, or in order of begin; each block into the tightest gap that holds it.
Greedy BestGreedy(const Lifetimes& lifetimes);

}  // namespace stowage::packing

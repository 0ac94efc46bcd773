// Which rows of which matrices stay on the device when not all fit. With copies overlapped only their exposed part
// costs time, so what is streamed is spread evenly over the pass: then the link never idles behind a run of resident
// layers and the device never stalls behind a run of streamed ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planner/base/units.h"

namespace stowage {

struct SpreadItem {
  Bytes row;  // bytes of one row
  std::int64_t rows = 0;
};

enum class Grain : std::uint8_t {
  kTensors,  // whole matrices are streamed, every so many; those over twice the median are cut by rows, and one to fill
             // the budget
  kRows,     // every matrix streams the same share of its rows: the smallest ring, more and smaller copies
};

// The leading rows of each item that stay resident: the most the budget holds (each item's bytes rounded up to
// `alignment`), the rest spread evenly in the order of the items. A budget below zero counts as zero.
std::vector<std::int64_t> SpreadResident(std::span<const SpreadItem> items, Bytes budget, Grain grain, Bytes alignment);

}  // namespace stowage

// A prediction beside the measurement of the same schedule: bytes per pool, seconds per phase, busy and idle per
// resource. A name that only one of the two has is a row with the other side missing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/timeline/timeline.h"

namespace stowage {

template <class T>
struct Beside {
  std::string name;
  std::optional<T> predicted;
  std::optional<T> measured;
};

struct BusyIdle {
  Seconds busy;
  Seconds idle;
};

struct Comparison {
  std::vector<Beside<Bytes>> pools;  // peaks
  std::vector<Beside<Seconds>> phases;
  Beside<Seconds> length;  // named "total"
  std::vector<Beside<BusyIdle>> resources;
};

// Names in the prediction's order, then those only the measurement has.
Comparison Compare(const Timeline& predicted, const Timeline& measured);

// Differences are measured - predicted; ratios measured / predicted.
std::string ComparisonText(const Comparison& comparison, bool colour);

}  // namespace stowage

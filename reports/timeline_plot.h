// Memory and occupancy over time, drawn with characters.
//
//   gpu0      14.90 GB |         ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄|     the highest use in each column, eighths of a row
//                      |████████████████████████████|
//   gpu0.sm     63.1 % |    ▁▁▁▁████████████████████|     the share of each column in which it was busy
//   gpu0.h2d    91.0 % |▇▇▇▇▇▇▇▇████████████████████|
//                       load     prefill decode           where phases start
#pragma once

#include <cstddef>
#include <string>

#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct PlotOptions {
  std::size_t width = 100;  // of the whole plot, in characters; at least 40 are used
  bool unicode = false;     // block elements; else ASCII
  bool colour = false;      // escape sequences
};

// The timeline needs spans and curves. Pools without use and resources without work are left out; "" for a timeline
// without length.
std::string TimelinePlot(const Schedule& schedule, const Timeline& timeline, const PlotOptions& options);

}  // namespace stowage

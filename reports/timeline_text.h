// A Timeline as one terminal screen: peaks per pool with what was alive, time per phase, busy and idle per resource.
#pragma once

#include <string>

#include "planner/model/request.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct TimelineTextOptions {
  std::size_t top_buffers = 3;  // named per pool
  bool colour = false;          // escape sequences; set it only for a terminal
  // The same schedule at the ends of the machine's intervals: the phases' times get two columns more. Not owned.
  const Timeline* low = nullptr;
  const Timeline* high = nullptr;
};

// `request` gives the tokens of a pass: a prefill has batch * prompt tokens, a decode pass one per sequence.
std::string TimelineText(const Timeline& timeline, const Request& request, const TimelineTextOptions& options);

}  // namespace stowage

// A simulation as a trace in Chrome's JSON format, which Perfetto and chrome://tracing open.
//
//   process "phases"     one slice a phase
//   process "queues"     a track per queue: the steps it ran, with iteration and pass
//   process "resources"  a track per resource: who held it
//   process "memory"     a counter per pool, in bytes
//
// Times are microseconds from the start of the schedule. A run of more than TraceLimits::most_slices slices is thinned:
// of each body only the first and last three iterations are shown step by step, each other one as a slice per track.
#pragma once

#include <cstddef>
#include <string>

#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct TraceLimits {
  std::size_t most_slices = 200'000;
};

// The timeline needs spans, and curves for the counters. The same input gives the same bytes.
std::string TraceJson(const Schedule& schedule, const Timeline& timeline, const TraceLimits& options = {});

}  // namespace stowage

// What resources and pools did in a stretch of a simulation, in equal bins: what plots and pages draw of schedules of any
// size.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "planner/schedule/schedule.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct Stretch {
  Seconds begin;
  Seconds end;  // later than begin
};

struct Occupancy {
  std::string resource;
  std::vector<double> busy;  // by bin: the share of its time in which the resource worked, 0 to 1
};

// The schedule's resources, in its order. Jobs that share a resource count once. The timeline needs its spans.
std::vector<Occupancy> OccupancyOf(const Schedule& schedule, const Timeline& timeline, const Stretch& stretch,
                                   std::size_t bins);

// The highest use in each bin. The pool needs its curve; before its first sample it is empty.
std::vector<Bytes> MemoryBins(const PoolTimeline& pool, const Stretch& stretch, std::size_t bins);

// The bytes read so far from each of Schedule::files, at the end of each bin: shards arriving. Reads of what is in no file
// (a model of which there are no weights) count for a file named "the checkpoint".
struct Arrival {
  std::string file;
  Bytes bytes;  // in all
  Seconds first, last;
  std::vector<Bytes> so_far;
};
std::vector<Arrival> ArrivalsOf(const Schedule& schedule, const Timeline& timeline, const Stretch& stretch,
                                std::size_t bins);

}  // namespace stowage

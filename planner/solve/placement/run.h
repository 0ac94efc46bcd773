// One run of units on one device: the exact choice of what is streamed. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Of `kind`, how many of a run's units are streamed from where; the others are resident.
struct Pick {
  int kind = 0;
  int host = 0;
  int disk = 0;
};

struct RunOption {
  Time value = 0;  // time of the run, or its bytes for kMemory; without the hop that leads into it
  std::int64_t host = 0;
  std::int64_t disk = 0;
  Time priced = 0;               // host prices of what is streamed from there
  std::uint64_t disk_kinds = 0;  // bit k: a unit of kind k, of those with host_first, was kept on the disk
  std::vector<Pick> picks;
};

struct RunLimits {
  std::int64_t host_room = 0;
  std::int64_t disk_room = 0;
  std::uint64_t disk_kinds = 0;  // these are not kept on the host any more (host before disk along the chain)
  Time cap = kInfinite;          // options of this value, prices included, or more are of no use
  std::int64_t nodes = 0;        // steps allowed
};

// Every way to stream in the run [begin, end) that could be part of an optimum: the cheapest when neither host nor disk
// bind, else all that are not obviously worse. False when `limits.nodes` ended the search early. Adds its steps to
// *nodes.
bool SolveRun(const Tables& t, int device, int begin, int end, const RunLimits& limits, std::vector<RunOption>& options,
              std::int64_t* nodes);

}  // namespace stowage::placement

// For tests and benchmarks: valid schedules of blocks that stream through a ring, in many variants.
#pragma once

#include <cstdint>

#include "planner/schedule/schedule.h"

namespace stowage {

struct RingShape {
  int blocks = 3;  // streamed per pass
  int slots = 2;
  std::int64_t iterations = 4;  // of the body, which is blocks * slots / gcd(blocks, slots) positions long
  std::int64_t slot_bytes = 16;
  bool loader = false;                // copies are issued by a thread of their own
  bool host_waits_for_copy = false;   // the order copy -> compute: a wait instead of an `after`
  bool host_waits_for_block = false;  // the order compute -> refill: a wait instead of an `after`; not with a loader
  bool blocking = false;              // the order compute -> refill: blocking computes; not with a loader
  bool cache = false;                 // each pass appends to a cache, reads all of it, and copies its part out
};

Schedule MakeRing(const RingShape& shape);
Schedule RandomRing(unsigned seed);  // small: at most about 150 executions

}  // namespace stowage

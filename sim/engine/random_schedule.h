// Random schedules for tests: every construct that decides times, on few queues and resources, with durations that
// often tie.
#pragma once

#include <cstdint>

#include "sim/engine/toy_schedule.h"

namespace stowage {

struct RandomOptions {
  bool compete = true;  // queues share issuers and exclusive resources; false: what one pass handles
  bool share = false;   // some resources share bandwidth; durations then do not tie
  bool reduce = true;
};

ToySchedule RandomSchedule(std::uint64_t seed, const RandomOptions& options);

}  // namespace stowage

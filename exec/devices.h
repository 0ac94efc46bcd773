// The devices of a run, by what the user asked for.
#pragma once

#include <string>

#include "exec/run/execute.h"
#include "planner/base/result.h"
#include "planner/schedule/schedule.h"

namespace stowage {

enum class DeviceKind { kAuto, kCuda, kHost };

struct ChosenDevices {
  DeviceSet set;
  bool cuda = false;
  std::string description;  // "NVIDIA H200, CUDA runtime 13.0, libcublasLt.so.13 …"; "host devices (no CUDA device: …)"
};

// kCuda: a GPU for each pool gpu<i>, kDevice when there are fewer; host memory that the schedule pins is page-locked.
// kHost: MakeHostDevices. kAuto: CUDA where it can be had, else host devices; the description says why.
Result<ChosenDevices> MakeDevices(const Schedule& schedule, DeviceKind kind);

}  // namespace stowage

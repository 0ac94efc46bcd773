// --gpu auto: the cards of this computer, as its driver tells. The driver's libraries are opened when asked, so that no
// tool needs them to start.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

struct DetectedGpu {
  std::string name;           // "NVIDIA H200"
  Bytes total;                // as CUDA reports it
  std::optional<Bytes> free;  // absent when the management library is not there
};

// The libraries' names; others in tests.
struct DriverLibraries {
  std::string cuda = "libcuda.so.1";
  std::string management = "libnvidia-ml.so.1";
};

// The cards CUDA shows this process (CUDA_VISIBLE_DEVICES counts), in its order. kDevice says why there are none: no
// driver library, its error, no card.
Result<std::vector<DetectedGpu>> DetectGpus(const DriverLibraries& libraries = {});

// What --gpu would be for a card by hand: "h200:149000000000", with what is free on it; "generic:..." for a card that
// is not in the hardware table.
std::string GpuTextOf(const DetectedGpu& gpu);

}  // namespace stowage

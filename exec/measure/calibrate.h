// What this machine really does, in at most a second: the profile under which a run on host devices is predicted again,
// so that predicted and measured can be compared.
#pragma once

#include <string>

#include "planner/base/result.h"
#include "planner/machine/machine.h"

namespace stowage {

struct HostRates {
  ComputeRate compute;  // one thread with the host kernels, as a compute queue of a host device runs them
  TransferRate copy;    // memcpy between two arenas
  TransferRate disk;    // pread of `probe_file`; from the page cache where it was read before
  Seconds step;         // issuing one step to a queue, measured as a burst of empty copies
  double populate = 0;  // seconds per byte of a new arena, until its pages are there
};

// `probe_file`: a checkpoint file to read from; empty: disk.pinned stays 0 and the machine keeps its own rate.
Result<HostRates> CalibrateHost(const std::string& probe_file);

// `machine` with what the issuing thread really pays: the measured dispatch and allocation costs, and no reservations:
// host devices have no context.
Machine WithHostDispatch(Machine machine, const HostRates& rates);

// Likewise, and with the measured rates on every resource that host devices stand in for (gpuN.sm, gpuN.h2d, gpuN.d2h,
// host.cores, disk0), Origin::kMeasured.
Machine WithHostRates(Machine machine, const HostRates& rates);

}  // namespace stowage

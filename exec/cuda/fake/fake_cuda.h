// A CUDA runtime on the CPU for tests: streams run under a FakeScheduler, kernels come from a table of host functions.
//
// Memory shows what a missing dependency would do on a device: fresh allocations are poisoned (0xFF: NaN as a float, -1
// as an id); a copy's target is poisoned from its begin to its end, and its source is read at its end, so a source
// overwritten too early shows too. Host workers run under the same scheduler, so a whole schedule is deterministic.
#pragma once

#include <memory>

#include "exec/cuda/cuda_api.h"
#include "exec/cuda/fake/scheduler.h"
#include "exec/host/host_device.h"
#include "exec/host/workers.h"
#include "exec/run/execute.h"
#include "kernels/table.h"
#include "planner/schedule/schedule.h"

namespace stowage {

std::shared_ptr<CudaApi> MakeFakeCuda(std::shared_ptr<FakeScheduler> scheduler, kernels::KernelTable kernels);

// Queues of host devices under the scheduler instead of threads.
std::unique_ptr<Workers> MakeFakeWorkers(std::shared_ptr<FakeScheduler> scheduler);

// Poisoned host memory.
HostMemory PoisonedHostMemory();

// Devices for a schedule: CUDA devices over the fake table for its GPU pools, a host device for the rest, all under one
// scheduler. `kernels` also run the cpu queues.
Result<DeviceSet> MakeFakeDevices(const Schedule& schedule, FakePolicy policy, kernels::KernelTable kernels);

}  // namespace stowage

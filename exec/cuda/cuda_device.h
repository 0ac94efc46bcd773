// One GPU through a CudaApi: an arena is one cudaMalloc, a queue one stream, an event a cudaEvent.
//
// What orders what: commands of one queue by their stream; queues of CUDA devices by cudaStreamWaitEvent, so nobody
// blocks; host queues (disk, cpu) wait for a CUDA event in their worker thread. A stream cannot wait for a host queue:
// WaitFor refuses, and the schedule must make the issuer wait instead.
//
// Every step is timed by two events. Their handles are reused once their times have been read.
#pragma once

#include <memory>
#include <string>

#include "exec/cuda/cuda_api.h"
#include "exec/device.h"
#include "exec/host/host_device.h"

namespace stowage {

struct CudaDeviceOptions {
  std::string name;  // the pool: "gpu0"
  int ordinal = 0;
  Bytes budget;
};

// Shares `api`.
Result<std::unique_ptr<Device>> MakeCudaDevice(CudaDeviceOptions options, std::shared_ptr<CudaApi> api);

// Arenas of the host device beside it: pinned ones by cudaHostAlloc, others plain.
HostMemory CudaHostMemory(std::shared_ptr<CudaApi> api);

}  // namespace stowage

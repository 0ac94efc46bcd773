// The CUDA runtime as a table: what exec/cuda calls, and nothing else of it. The real table is made by LoadCudaApi; the
// tests' one (exec/cuda/fake) runs the same calls on the CPU in every order that streams and events allow.
//
// All return a cudaError_t as an int, 0 for success; streams and events are the runtime's handles. Thread-safe as the
// runtime is. `device` below is what SetDevice chose on the calling thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "exec/kernel_args.h"
#include "planner/base/result.h"

namespace stowage {

class CudaApi {
 public:
  using Stream = void*;
  using EventHandle = void*;

  virtual ~CudaApi() = default;

  virtual int DeviceCount(int* count) = 0;
  virtual std::string DeviceName(int device) = 0;
  virtual int MemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) = 0;
  virtual int SetDevice(int device) = 0;

  virtual int Malloc(void** memory, std::size_t bytes) = 0;
  virtual int Free(void* memory) = 0;
  virtual int HostAlloc(void** memory, std::size_t bytes) = 0;  // page-locked, known to all devices
  virtual int HostFree(void* memory) = 0;

  virtual int StreamCreate(Stream* stream) = 0;  // does not wait for the default stream
  virtual int StreamDestroy(Stream stream) = 0;
  virtual int StreamSynchronize(Stream stream) = 0;
  virtual int StreamWaitEvent(Stream stream, EventHandle event) = 0;

  virtual int EventCreate(EventHandle* event) = 0;  // with timing
  virtual int EventDestroy(EventHandle event) = 0;
  virtual int EventRecord(EventHandle event, Stream stream) = 0;
  virtual int EventQuery(EventHandle event) = 0;  // 0: reached; kNotReady
  virtual int EventSynchronize(EventHandle event) = 0;
  virtual int EventElapsed(float* milliseconds, EventHandle start, EventHandle end) = 0;

  virtual int MemcpyAsync(void* to, const void* from, std::size_t bytes, Stream stream) = 0;  // either side anywhere
  virtual int MemsetAsync(void* to, int value, std::size_t bytes, Stream stream) = 0;
  virtual int Launch(const KernelArgs& args, Stream stream) = 0;

  virtual std::string ErrorText(int code) = 0;  // "an illegal memory access was encountered (700)"
  virtual std::string Libraries() = 0;          // one line: runtime version, what computes matmuls

  static constexpr int kNotReady = 600;        // cudaErrorNotReady
  static constexpr int kMemoryAllocation = 2;  // cudaErrorMemoryAllocation
};

// The runtime linked into this binary. kDevice, saying why, in a build without the toolkit and on a machine without a
// driver or a device.
Result<std::shared_ptr<CudaApi>> LoadCudaApi();

}  // namespace stowage

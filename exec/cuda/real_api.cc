// The real table, over the statically linked runtime. Without the toolkit at build time only the refusal is left.
#include "exec/cuda/cuda_api.h"

#ifdef STOWAGE_CUDA
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <mutex>

#include "kernels/cublaslt.h"
#include "kernels/table.h"
#endif

namespace stowage {

#ifdef STOWAGE_CUDA

namespace {

cudaStream_t AsStream(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t AsEvent(void* event) { return static_cast<cudaEvent_t>(event); }

class RealCuda final : public CudaApi {
 public:
  RealCuda() : kernels_(kernels::CudaKernels()), lt_(kernels::CublasLt::Open(&why_no_lt_)) {}

  int DeviceCount(int* count) override { return cudaGetDeviceCount(count); }
  std::string DeviceName(int device) override {
    cudaDeviceProp properties{};
    return cudaGetDeviceProperties(&properties, device) == cudaSuccess ? properties.name : "unknown device";
  }
  int MemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) override {
    return cudaMemGetInfo(free_bytes, total_bytes);
  }
  int SetDevice(int device) override { return cudaSetDevice(device); }

  int Malloc(void** memory, std::size_t bytes) override { return cudaMalloc(memory, bytes); }
  int Free(void* memory) override { return cudaFree(memory); }
  int HostAlloc(void** memory, std::size_t bytes) override {
    return cudaHostAlloc(memory, bytes, cudaHostAllocPortable);
  }
  int HostFree(void* memory) override { return cudaFreeHost(memory); }

  int StreamCreate(Stream* stream) override {
    return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), cudaStreamNonBlocking);
  }
  int StreamDestroy(Stream stream) override { return cudaStreamDestroy(AsStream(stream)); }
  int StreamSynchronize(Stream stream) override { return cudaStreamSynchronize(AsStream(stream)); }
  int StreamWaitEvent(Stream stream, EventHandle event) override {
    return cudaStreamWaitEvent(AsStream(stream), AsEvent(event), 0);
  }

  int EventCreate(EventHandle* event) override {
    // Blocking: a thread that waits sleeps instead of spinning.
    return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(event), cudaEventBlockingSync);
  }
  int EventDestroy(EventHandle event) override { return cudaEventDestroy(AsEvent(event)); }
  int EventRecord(EventHandle event, Stream stream) override {
    return cudaEventRecord(AsEvent(event), AsStream(stream));
  }
  int EventQuery(EventHandle event) override { return cudaEventQuery(AsEvent(event)); }
  int EventSynchronize(EventHandle event) override { return cudaEventSynchronize(AsEvent(event)); }
  int EventElapsed(float* milliseconds, EventHandle start, EventHandle end) override {
    return cudaEventElapsedTime(milliseconds, AsEvent(start), AsEvent(end));
  }

  int MemcpyAsync(void* to, const void* from, std::size_t bytes, Stream stream) override {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, AsStream(stream));
  }
  int MemsetAsync(void* to, int value, std::size_t bytes, Stream stream) override {
    return cudaMemsetAsync(to, value, bytes, AsStream(stream));
  }
  int Launch(const KernelArgs& args, Stream stream) override {
    const auto* linear = std::get_if<kernels::LinearArgs>(&args);
    if (linear == nullptr || lt_ == nullptr) return RunKernel(kernels_, args, stream);
    const std::lock_guard lock(mutex_);  // CublasLt is not thread-safe
    return lt_->Linear(*linear, stream);
  }

  std::string ErrorText(int code) override {
    if (code >= 20000) return KernelCodeText(code);  // the kernels' own; cudaError_t ends below 1000
    return fmt::format("{} ({})", cudaGetErrorString(static_cast<cudaError_t>(code)), code);
  }
  std::string Libraries() override {
    int version = 0;
    cudaRuntimeGetVersion(&version);
    return fmt::format("CUDA runtime {}.{}, {}", version / 1000, version % 1000 / 10,
                       lt_ == nullptr ? "own matmuls: " + why_no_lt_ : lt_->Library());
  }

 private:
  kernels::KernelTable kernels_;
  std::string why_no_lt_;
  std::mutex mutex_;
  std::unique_ptr<kernels::CublasLt> lt_;
};

}  // namespace

Result<std::shared_ptr<CudaApi>> LoadCudaApi() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess || count == 0) {
    return Error{ErrorCode::kDevice, fmt::format("no CUDA device: {}", code == cudaSuccess ? "the driver lists none"
                                                                                           : cudaGetErrorString(code))};
  }
  return std::shared_ptr<CudaApi>(std::make_shared<RealCuda>());
}

#else

Result<std::shared_ptr<CudaApi>> LoadCudaApi() {
  return Error{ErrorCode::kDevice, "no CUDA device: this build was made without the CUDA toolkit"};
}

#endif

}  // namespace stowage

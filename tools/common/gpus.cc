#include "tools/common/gpus.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "planner/machine/hardware_table.h"

namespace stowage {
namespace {

constexpr int kMostNameBytes = 256;

// A shared library; closed on destruction.
class Library {
 public:
  explicit Library(const std::string& name) : handle_(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) problem_ = ::dlerror();
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }

  const std::string& problem() const { return problem_; }  // empty: none

  // Sets `function`; a missing one is a problem.
  template <class F>
  void Find(const char* name, F*& function) {
    function = handle_ == nullptr ? nullptr : reinterpret_cast<F*>(::dlsym(handle_, name));
    if (function == nullptr && problem_.empty()) problem_ = std::string("it has no ") + name;
  }

 private:
  void* handle_;
  std::string problem_;
};

// The functions of CUDA's driver API that are called here, by its declarations.
struct Cuda {
  explicit Cuda(const std::string& name) : library(name) {
    library.Find("cuInit", init);
    library.Find("cuDeviceGetCount", count);
    library.Find("cuDeviceGet", get);
    library.Find("cuDeviceGetName", get_name);
    library.Find("cuDeviceTotalMem_v2", total);
    library.Find("cuDeviceGetPCIBusId", bus_id);
    library.Find("cuGetErrorString", error_string);
  }

  Library library;
  int (*init)(unsigned flags) = nullptr;
  int (*count)(int* count) = nullptr;
  int (*get)(int* device, int ordinal) = nullptr;
  int (*get_name)(char* name, int bytes, int device) = nullptr;
  int (*total)(std::size_t* bytes, int device) = nullptr;
  int (*bus_id)(char* id, int bytes, int device) = nullptr;
  int (*error_string)(int error, const char** text) = nullptr;
};

// NVML, for what is free: CUDA says it only to a process with a context on the card.
class Management {
 public:
  explicit Management(const std::string& name) : library_(name) {
    library_.Find("nvmlInit_v2", init_);
    library_.Find("nvmlShutdown", shutdown_);
    library_.Find("nvmlDeviceGetHandleByPciBusId_v2", by_bus_id_);
    library_.Find("nvmlDeviceGetMemoryInfo", memory_);
    ready_ = library_.problem().empty() && init_() == 0;
  }
  Management(const Management&) = delete;
  Management& operator=(const Management&) = delete;
  ~Management() {
    if (ready_) shutdown_();
  }

  std::optional<Bytes> Free(const char* bus_id) const {
    void* device = nullptr;
    MemoryInfo info;
    if (!ready_ || by_bus_id_(bus_id, &device) != 0 || memory_(device, &info) != 0) return std::nullopt;
    return Bytes(static_cast<std::int64_t>(info.free));
  }

 private:
  struct MemoryInfo {  // nvmlMemory_t
    unsigned long long total = 0, free = 0, used = 0;
  };

  Library library_;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  int (*by_bus_id_)(const char* id, void** device) = nullptr;
  int (*memory_)(void* device, MemoryInfo* info) = nullptr;
  bool ready_ = false;
};

Error NoGpu(std::string_view why) {
  return {ErrorCode::kDevice, fmt::format("gpu 'auto': {}; say --gpu 15GB or --gpu t4", why)};
}

Error CudaError(const Cuda& cuda, const char* call, int code) {
  const char* text = nullptr;
  if (cuda.error_string(code, &text) != 0 || text == nullptr) text = "unknown error";
  return NoGpu(fmt::format("{} fails: {} ({})", call, text, code));
}

}  // namespace

Result<std::vector<DetectedGpu>> DetectGpus(const DriverLibraries& libraries) {
  const Cuda cuda(libraries.cuda);
  if (!cuda.library.problem().empty()) {
    return NoGpu(fmt::format("the NVIDIA driver's {} cannot be used: {}", libraries.cuda, cuda.library.problem()));
  }
  if (const int code = cuda.init(0); code != 0) return CudaError(cuda, "cuInit", code);
  int count = 0;
  if (const int code = cuda.count(&count); code != 0) return CudaError(cuda, "cuDeviceGetCount", code);
  if (count < 1) return NoGpu("the driver shows no card to this process");
  const Management management(libraries.management);
  std::vector<DetectedGpu> out;
  for (int i = 0; i < count; ++i) {
    int device = 0;
    std::array<char, kMostNameBytes> name = {};
    std::array<char, 64> bus_id = {};
    std::size_t total = 0;
    if (const int code = cuda.get(&device, i); code != 0) return CudaError(cuda, "cuDeviceGet", code);
    if (const int code = cuda.get_name(name.data(), kMostNameBytes - 1, device); code != 0) {
      return CudaError(cuda, "cuDeviceGetName", code);
    }
    if (const int code = cuda.total(&total, device); code != 0) return CudaError(cuda, "cuDeviceTotalMem", code);
    DetectedGpu gpu{name.data(), Bytes(static_cast<std::int64_t>(total)), std::nullopt};
    if (cuda.bus_id(bus_id.data(), static_cast<int>(bus_id.size()) - 1, device) == 0) {
      gpu.free = management.Free(bus_id.data());
    }
    out.push_back(std::move(gpu));
  }
  return out;
}

std::string GpuTextOf(const DetectedGpu& gpu) {
  const auto row = FindCard(gpu.name);
  std::int64_t bytes = std::min(gpu.total, gpu.free.value_or(gpu.total)).value();
  if (!row) return fmt::format("generic:{}", bytes);
  if ((*row)->total_bytes_high > 0) bytes = std::min(bytes, (*row)->total_bytes_high);
  return fmt::format("{}:{}", (*row)->id, bytes);
}

}  // namespace stowage

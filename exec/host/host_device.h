// A device in host memory: any number of them, each with the budget of its pool, so that every strategy runs, and its
// bytes and numbers are checked, on a machine without a GPU. The device named "host" also serves the disk and cpu
// queues.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "exec/device.h"
#include "exec/host/workers.h"
#include "exec/kernel_args.h"

namespace stowage {

// Where its arenas come from. The default is page-aligned memory, backed by pages at once as page-locked and device
// memory are; beside a CUDA device, pinned arenas come from cudaHostAlloc.
struct HostMemory {
  std::function<Result<std::byte*>(Bytes bytes, bool pinned)> allocate;
  std::function<void(std::byte* memory, Bytes bytes, bool pinned)> free;
};
HostMemory PlainHostMemory();

struct HostDeviceOptions {
  std::string name;  // "gpu0", "host"
  Bytes budget;
  HostMemory memory = PlainHostMemory();
  kernels::KernelTable kernels = HostKernels();
};

// Owns its workers.
std::unique_ptr<Device> MakeHostDevice(HostDeviceOptions options, std::unique_ptr<Workers> workers);

// Books arenas against a budget: shared by the devices.
class ArenaBudget {
 public:
  ArenaBudget(std::string device, Bytes budget) : device_(std::move(device)), budget_(budget) {}
  Status Take(const ArenaRequest& request);  // kOutOfMemory: the arena, its bytes, what is left
  void Return(Bytes bytes) { used_ -= bytes; }
  Bytes used() const { return used_; }

 private:
  std::string device_;
  Bytes budget_;
  Bytes used_;
};

}  // namespace stowage

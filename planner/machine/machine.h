// What a schedule runs on: pools (memory with a budget), resources (things that serve one job at a time or share a
// bandwidth), and what host threads pay to issue work. Every number carries where it comes from.
//
// Names are fixed: pools "gpu0", "gpu1", …, "host", "disk"; resources "gpu0.sm", "gpu0.h2d", "gpu0.d2h",
// "link:gpu0-gpu1", "host.cores", "host.dram", "disk0". A schedule refers to them by name, so it can be simulated under
// another machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/units.h"
#include "planner/model/dtype.h"

namespace stowage {

enum class Origin : std::uint8_t { kMeasured, kPublished, kComputed, kAssumed };
std::string_view Name(Origin origin);

enum class PoolKind : std::uint8_t { kGpu, kHost, kDisk };

struct Pool {
  std::string name;
  PoolKind kind = PoolKind::kGpu;
  Bytes budget;                       // what a plan may use, driver context and library workspaces included
  std::optional<Bytes> pinned_limit;  // host: page-locked memory allowed; absent: the whole budget
  friend bool operator==(const Pool&, const Pool&) = default;
};

// Bytes of a pool that no tensor gets: a named, estimated line with its origin ("CUDA context").
struct Reservation {
  std::string pool;
  std::string name;
  Bytes bytes;
  Origin origin = Origin::kAssumed;
  std::string source;                         // "PyTorch maintainers: 300-400 MB with lazy loading"
  std::optional<Bytes> least = std::nullopt;  // the smallest that has been seen, where `bytes` is the largest
};

// The interval of a constant that stands for a class of hardware, as factors of it (spread.h); 1 to 1: it is exact.
struct Spread {
  double low = 1;
  double high = 1;
  friend bool operator==(const Spread&, const Spread&) = default;
};

// How long a kernel takes: a roofline with a smooth maximum and four constants (planning_and_simulation.md 5.2),
//   t = ((F / (flops_efficiency * peak))^p + (B / (memory_efficiency * memory))^p)^(1/p) + launch (+ H / in_place)
struct ComputeRate {
  FlopsPerSecond fp32{0};  // dense peaks; 0: not supported
  FlopsPerSecond fp16{0};
  FlopsPerSecond bf16{0};
  BytesPerSecond memory{0};
  double flops_efficiency = 1;
  double memory_efficiency = 1;
  double smoothness = 2;       // p
  Seconds launch;              // what one kernel costs the device beside its work
  BytesPerSecond in_place{0};  // reading page-locked host memory from a kernel, over the link; 0: it cannot

  FlopsPerSecond Peak(DType dtype) const;  // fp32's for types without units of their own
  friend bool operator==(const ComputeRate&, const ComputeRate&) = default;
};

// t = latency + bytes / rate. An all-reduce: start + the hops of a ring or a tree (planner/cost/cost.h).
struct TransferRate {
  Seconds latency;
  BytesPerSecond pinned{0};
  BytesPerSecond pageable{0};  // from or to pageable host memory; the disk: same as pinned
  Seconds start = {};          // of an all-reduce, whatever its size: the launch on all ranks until they have met
  friend bool operator==(const TransferRate&, const TransferRate&) = default;
};

struct Resource {
  std::string name;
  bool shared = false;  // false: one job at a time. true: jobs share the bandwidth equally
  std::optional<ComputeRate> compute;
  std::optional<TransferRate> transfer;
  Origin origin = Origin::kAssumed;
  Spread flops_spread = {};  // of the peaks in `compute`
  Spread rate_spread = {};   // of its memory's rate, or of the transfer's
  friend bool operator==(const Resource&, const Resource&) = default;
};

// What issuing one step costs its host thread.
struct DispatchCost {
  Seconds native_launch;   // a kernel or copy from our executor
  Seconds torch_operator;  // one eager operator: Python, dispatcher, launch
  Seconds torch_hook;      // one module hook (accelerate)
  Seconds device_malloc;   // cudaMalloc of a segment
  Seconds device_free;     // cudaFree of a segment (synchronises)
  Seconds empty_cache;     // the call itself
  // What allocating an arena costs per byte: backing and page-locking its memory. 0: not known, and left out.
  double populate_gpu = 0;  // seconds per byte
  double populate_host = 0;
  Spread spread = {};  // of the times above, as a whole
};

struct GpuInfo {
  std::string id;              // "t4", "rtx4090", "generic", "host-device"
  std::string name;            // "NVIDIA T4"
  int compute_capability = 0;  // 75, 89, 90; 0: none
};

struct Machine {
  std::string name;           // "NVIDIA T4 15.0 GB, host 30 GB"
  std::vector<GpuInfo> gpus;  // gpus[i] owns pool "gpu<i>"
  std::vector<Pool> pools;
  std::vector<Reservation> reservations;
  std::vector<Resource> resources;
  DispatchCost dispatch;
  std::string torch_allocator;           // as PYTORCH_ALLOC_CONF (sim/memory has the keys); "": torch's default
  std::vector<std::string> assumptions;  // sentences for the user: what was not said and what stands for it

  std::int32_t FindPool(std::string_view name) const;      // -1 when absent
  std::int32_t FindResource(std::string_view name) const;  // -1 when absent
  Bytes Reserved(std::string_view pool) const;             // sum of its reservations
};

}  // namespace stowage

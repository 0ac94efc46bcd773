// A machine as JSON: what `--machine FILE` reads, `inspect machine --json` writes, and a plan file carries.
//
//   {"stowage_machine": 1,
//    "name": "…",
//    "gpus": [{"id": "t4", "name": "NVIDIA T4", "compute_capability": 75}],
//    "pools": {"gpu0": {"kind": "gpu", "budget": 15632498688}, "host": {"kind": "host", "budget": "30GB"}, …},
//    "reservations": [{"pool": "gpu0", "name": "CUDA context", "bytes": 479199232, "origin": "assumed", "source": "…"}],
//    "resources": {"gpu0.sm": {"origin": "measured", "shared": false, "compute": {…}},
//                  "gpu0.h2d": {"origin": "published", "transfer": {…}}, …},
//    "dispatch": {"native_launch_s": 3e-06, …},
//    "assumptions": ["…"]}
//
//   compute   fp32_flops_per_s, fp16_…, bf16_…, memory_bytes_per_s, flops_efficiency, memory_efficiency, smoothness,
//             launch_s, in_place_bytes_per_s                                         (ComputeRate in machine.h)
//   transfer  latency_s, pinned_bytes_per_s, pageable_bytes_per_s, start_s           (TransferRate)
//   resource  flops_interval, rate_interval: [low, high], factors of the peaks and of the rate; absent: exact
//   dispatch  interval likewise; native_launch_s, torch_operator_s, torch_hook_s, device_malloc_s, device_free_s, empty_cache_s,
//             populate_gpu_s_per_byte, populate_host_s_per_byte
//
// A file is read over a machine: a pool, resource, reservation or number that it does not name keeps what is there. A
// resource must say its origin. Sizes are whole bytes or accelerate's strings ("15GB", "15GiB").
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/formats/json_scanner.h"
#include "planner/machine/machine.h"

namespace stowage {

inline constexpr int kMachineVersion = 1;

// Everything, numbers exactly; reading it over an empty machine gives an equal one.
std::string WriteMachineJson(const Machine& machine);

// One object from `in` over `machine`, checked in its form only. Problems are the scanner's.
void ReadMachine(JsonScanner& in, Machine& machine);

// A whole file over `base`, then CheckMachine. kInvalidInput names the place, or the culprit, its value and the limit.
Result<Machine> ReadMachineFile(std::string_view path, std::string_view text, Machine base);

// What every consumer relies on: gpu pools gpu0… as many as cards, host and disk, the resources of each, rates that
// can be divided by, efficiencies of at most 1, reservations of pools that exist.
Status CheckMachine(const Machine& machine);

}  // namespace stowage

// From what a user says about a machine ("--gpu 15GB --cpu 30GB") to a Machine, every gap filled by a named number and
// said in Machine::assumptions.
//
//   MachineSpec spec{.gpus = {"2x24GiB", "t4"}, .cpu = "30GB"};
//   STOWAGE_TRY(const Machine machine, BuildMachine(spec, ReadHostFacts()));
//
// A gpu is one of
//   15GB               a size: a generic card (below 1 GiB: a host device, since no CUDA card is that small)
//   t4                 a card of hardware_table.h, with the lowest total CUDA reports for it
//   rtx4090:22GiB      the same with a budget of our own, at most the card's highest total
//   generic:15GB, host-device:20GB
//   2x24GiB, 4xt4      that many of them
// and commas separate several. Pools come out as gpu0…, host, disk; resources as in machine.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/machine.h"

namespace stowage {

// What the caller learnt about the computer it runs on; the planner itself reads no file. Absent: unknown.
struct HostFacts {
  std::optional<Bytes> available =
      std::nullopt;  // memory this process could still get: MemAvailable, cut by cgroup limits
  std::optional<Bytes> disk_free = std::nullopt;  // where MachineSpec::disk_path is, or in the current folder
};

struct MachineSpec {
  std::vector<std::string> gpus = {};                   // at least one, unless there is a profile
  std::optional<std::string> cpu = std::nullopt;        // absent: HostFacts::available
  std::optional<std::string> disk = std::nullopt;       // absent: HostFacts::disk_free, or kAssumedDisk
  std::optional<std::string> disk_path = std::nullopt;  // the folder whose free space that is; absent: the current one
  std::optional<std::string> torch_allocator = std::nullopt;  // --alloc-conf: Machine::torch_allocator
  std::optional<std::string> profile_path = std::nullopt;     // --machine: a file in the form of machine_json.h
  std::optional<std::string> profile = std::nullopt;          // its text, read over what the rest says; sizes above win
};

constexpr Bytes kAssumedDisk{1'000'000'000'000};
// No CUDA card is smaller; a bare size below this is a host device.
constexpr Bytes kSmallestCudaCard{1'073'741'824};
// "--gpu 15" means 15 bytes to the size rules, and certainly something else to the user.
constexpr Bytes kSmallestBudget{65'536};
constexpr int kMostGpus = 64;

// What a process loses on a CUDA card before its first tensor. Seen: 256 MiB (bare context, RTX 3090, torch 2.7.1,
// driver 610), 300-400 MB (PyTorch maintainers, lazy loading), 457 MiB (what ollama keeps free per device). The largest
// is taken: an estimate of ours must not be too small. cuBLAS workspaces are not in it: torch allocates them through
// its own allocator, and the native runtime plans its own.
constexpr Bytes kCudaContext{457 * 1'048'576};

// kInvalidInput: no gpu, an unknown name, a bad size, more than a card has, too many gpus, a bad profile.
Result<Machine> BuildMachine(const MachineSpec& spec, const HostFacts& facts);

// The machine as a person reads it: pools with budgets and reservations, resources with rates and origins, dispatch
// costs, assumptions. Ends with a newline.
std::string Describe(const Machine& machine);

}  // namespace stowage

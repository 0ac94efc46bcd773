// Where the units of a chain go: the placement of a network's no-split blocks on unequal devices that is fastest, with
// the proof. Plain numbers in, a ChainPlacement out; from_model.h makes the numbers.
//
// The chain. Units (a no-split block, or a module between blocks: embedding, final norm, head) run one after the other.
// A device computes at most one contiguous run of them; the runs follow the order of the devices, and a device may stay
// empty. Between the devices' runs, before the first and after the last, units may be computed on the CPU. On its
// device a unit's weights are resident, or kept in host memory or on the disk and streamed in at each use:
//
//   unit      embed   0    1    2    3    4    5    norm  head
//   computed  cpu    [gpu0 ...........] [gpu1 .............]
//   weights   host    res  res  host    res  res  disk res   res
//
// Units of a tie share storage and go together: computed on one device, kept in one place. They alone leave the order:
// the head runs where the embedding lies, wherever the rest of the chain is.
//
// Memory of a device that computes anything, at most its budget:
//   workspace + sum of states + largest transient + resident weights + largest staging of its streamed units
// Host memory: workspace + weights kept there + weights and states of the units the CPU computes. Disk: weights there.
// A tie's shared bytes count once. What a CPU run or a disk read needs besides belongs into the host's workspace.
//
// Time is synchronous, nothing overlaps:
//   unit on device d    seconds[d] + (0 | host_stream[d] | disk_stream[d])
//   unit on the CPU     cpu_seconds
//   hop from a to b     link latency + boundary bytes of the unit before it / rate; 0 on one device
//
// Exactness. Seconds are rounded to picoseconds, all else is integers. The search is best-first (A*) over (unit, last
// device, host bytes, disk bytes) under an admissible bound: the same chain with each device's residency bounded on
// its own, host memory relaxed to Lagrange prices, less the most that it can be worth under them, the disk left out. A
// device's run is then priced by an exact bounded knapsack over kinds of units (same weights, staging and stream
// times; a stack of equal blocks is one kind, so which units are resident is a matter of counting). The first complete
// placement that leaves the queue is optimal: proven is true, and lower_bound equals value. It is false only when a
// cap ended the search (many unequal kinds whose times are proportional to their bytes are a subset-sum problem), or,
// with any_order, when not all orders were tried; then lower_bound < value is what was proven. A tie's places are
// bounded one by one, the run on that device between bounds of what comes before and after it; few remain to be
// searched (homes.h). When the CPU computes and host memory binds, what it may still compute is part of the bounds'
// states (layers.h), for the ways alone that the simpler bounds leave below a first placement. With a CPU that computes
// kThroughput, and where host memory binds kThroughput and kMemory, ask of one value after the other whether all can
// keep within it (bottleneck.h).
//
// Work: O(devices * units^2) for a bound, a few of them, then the search. A run's bound is exact while it has few
// kinds of units, so the search then hardly leaves the optimal path. All of placement_bench.cc's problems (200 units in
// 4 kinds on 16 devices) are proven; docs/performance.md has their times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

inline constexpr Seconds kNeverSeconds{1e30};  // "cannot": any time of a million seconds or more

struct ChainUnit {
  std::string name;
  Bytes weights;
  Bytes state;                       // kept where it is computed for the whole run: KV cache
  Bytes transient;                   // alive while it computes: activations, logits
  Bytes staging;                     // on the device while its weights are streamed
  Bytes boundary;                    // handed to the next unit
  std::vector<Seconds> seconds;      // one a device
  std::vector<Seconds> host_stream;  // one a device, added when its weights come from host memory
  std::vector<Seconds> disk_stream;  // one a device, added when they come from the disk
  Seconds cpu_seconds = kNeverSeconds;
};

struct ChainDevice {
  std::string name;
  Bytes budget;
  Bytes workspace;  // context, library workspaces: taken as soon as anything runs there
};

struct ChainLink {
  Seconds latency;
  BytesPerSecond rate{1};
};

struct ChainTie {
  std::vector<std::int32_t> units;
  Bytes shared;  // of each unit's weights: what exists once
};

enum class PlacementObjective : std::uint8_t {
  kLatency,     // the sum of all times
  kThroughput,  // the largest time of a device (or of the CPU, all its runs together); a hop counts for the run it leads
                // into, those next to tied units not at all; a tied unit counts for its device
  kMemory,      // the most bytes a device uses; times are ignored, streaming and the CPU are used where allowed
};

struct PlacementProblem {
  std::vector<ChainUnit> units;               // in execution order; at least one
  std::vector<ChainDevice> devices;           // 1 to 16, in the order their runs must follow
  Bytes host_budget;                          // 0: nothing is kept on or computed by the host
  Bytes host_workspace;                       // taken from it before anything else
  Bytes disk_budget;                          // 0: no disk
  std::vector<std::vector<ChainLink>> links;  // [from][to]; index devices.size() is the CPU
  std::vector<ChainTie> ties;                 // a unit is in at most one
  PlacementObjective objective = PlacementObjective::kLatency;
  bool any_order = false;           // the best order of the devices instead of the given one
  std::int64_t node_cap = 500'000;  // steps of the search before it settles for a bound and a gap
};

enum class KeptOn : std::uint8_t { kDevice, kHost, kDisk };

struct UnitPlacement {
  std::int32_t device = 0;           // that computes it; devices.size(): the CPU
  KeptOn weights = KeptOn::kDevice;  // on the CPU: kHost

  friend bool operator==(const UnitPlacement&, const UnitPlacement&) = default;
};

struct ChainPlacement {
  std::vector<UnitPlacement> units;
  std::vector<std::int32_t> order;  // of the devices; the given one without any_order
  double value = 0;                 // seconds, or bytes for kMemory
  double lower_bound = 0;           // no placement is better than this
  bool proven = false;              // lower_bound == value
  std::int64_t nodes = 0;           // steps of the search

  double Gap() const { return value > 0 ? (value - lower_bound) / value : 0; }
};

// kInvalidInput for a malformed problem; kInfeasible when no placement fits, with the smallest larger budget of one
// device that would do (of the largest device, for long chains on many).
Result<ChainPlacement> SolvePlacement(const PlacementProblem& problem);

// What a placement uses and costs under the rules above, whoever made it. kInfeasible names the first budget it breaks
// or the rule of the chain; kInvalidInput a malformed placement.
struct PlacementPrice {
  double value = 0;
  std::vector<Bytes> device_bytes;  // 0 for a device that computes nothing
  Bytes host_bytes;
  Bytes disk_bytes;
};
Result<PlacementPrice> PricePlacement(const PlacementProblem& problem, const std::vector<UnitPlacement>& units,
                                      const std::vector<std::int32_t>& order);

}  // namespace stowage

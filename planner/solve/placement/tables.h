// The integers the search works with: a problem with the place of each tie fixed. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/placement.h"

namespace stowage::placement {

using Time = std::int64_t;                                    // picoseconds; bytes for kMemory
inline constexpr Time kNever = 1'000'000'000'000'000'000;     // a million seconds
inline constexpr Time kInfinite = 4'000'000'000'000'000'000;  // no way at all

Time Picoseconds(Seconds s);

// Where the units of a tie go.
struct Home {
  std::int32_t device = 0;  // devices.size(): the CPU
  KeptOn weights = KeptOn::kDevice;

  friend bool operator==(const Home&, const Home&) = default;
};

// Units that differ only in what does not matter for which of them are streamed.
struct Kind {
  std::int64_t weights = 0;
  std::int64_t staging = 0;
  std::vector<Time> host;   // one a device
  std::vector<Time> disk;   // one a device
  bool host_first = false;  // disk - host is the same, >= 0, on every device: host before disk along the chain
};

struct Tables {
  int n = 0;
  int devices = 0;
  PlacementObjective objective = PlacementObjective::kLatency;
  bool latency() const { return objective == PlacementObjective::kLatency; }
  bool memory() const { return objective == PlacementObjective::kMemory; }
  // No device may take longer than this (need more, for kMemory), and what is minimised is the time of the CPU.
  Time limit = kInfinite;
  bool limited() const { return limit < kInfinite; }
  // kThroughput and kMemory when host memory binds: beside the limit, what is minimised is the host's bytes.
  bool by_host = false;
  bool sums() const { return latency() || limited(); }  // times of runs add up; else the largest counts

  std::vector<std::int64_t> weights, state, transient;  // one a unit; 0 for a pinned one
  std::vector<int> kind_of;                             // -1: pinned to its tie's home
  std::vector<int> home_of;                             // the device of a pinned unit, else -1
  std::vector<Kind> kinds;
  std::vector<int> counts;                          // [kind][i]: units of the kind before i
  std::vector<std::vector<Time>> compute;           // [device, last: CPU][unit]; 0 for a pinned one
  std::vector<std::vector<Time>> before;            // prefix sums of compute, [device][i]
  std::vector<std::vector<Time>> inner;             // prefix sums of hops within a run on the device, [device][i]
  std::vector<std::vector<std::vector<Time>>> hop;  // [from][to][i]: from unit i - 1 to unit i, pinned ones included

  std::vector<char> hops_alike;              // [i]: into each device the hop before unit i is the same from everywhere
  std::vector<std::vector<Time>> least_hop;  // not kLatency: [to][i], from wherever

  std::vector<std::int64_t> budget, fixed;  // a device: budget; workspace and pinned bytes
  std::vector<std::int64_t> pinned_transient, pinned_staging;
  std::vector<Time> pinned_time;                // a device, last: the CPU
  std::int64_t host_room = 0, disk_room = 0;    // what is left for the units that are not pinned
  bool host_binds = false, disk_binds = false;  // could they run out at all?
  bool disk_first = false;                      // kMemory: everything can be on the disk, which does not bind
  bool fits = true;                             // the pinned units alone

  // Lagrange prices of what is in host memory, beside the units' own: a unit of a kind that is streamed from there, a
  // unit that the CPU computes. No prices: empty.
  std::vector<Time> host_price, cpu_price;  // [kind], [unit]
  std::vector<std::vector<Time>> stream;    // [device][kind]: the cheaper of host (with its price) and disk
  // By host: from the disk where it can be, else from the host.
  std::vector<std::vector<Time>> disk_stream;
  std::vector<int> device_class;         // devices alike in all that a bound looks at
  std::vector<std::int64_t> host_after;  // [i]: the most host bytes that units from i on could take
  // From this unit on a hop costs the same wherever it comes from, and never more further along.
  int alike_from = 0;
  // Not kLatency: from this unit on the least hop into each device never costs more further along.
  int shrink_from = 0;
  // From this unit on, whoever is further along at no larger value is no worse: so are the hops, the largest time
  // counts, the disk does not bind, nor does the host unless its bytes are the value. n + 1: nowhere.
  int FurtherFrom() const { return latency() || disk_binds || (host_binds && !by_host) ? n + 1 : alike_from; }

  // [device][i]: can a run on the device that begins with unit i be part of a placement that is of use? Empty: it may.
  std::vector<char> open;
  bool Open(int device, int i) const { return open.empty() || open[device * (n + 1) + i] != 0; }

  int Count(int kind, int begin, int end) const {
    return counts[kind * (n + 1) + end] - counts[kind * (n + 1) + begin];
  }
  Time HostPrice(int kind) const { return host_price.empty() ? 0 : host_price[kind]; }
  Time CpuPrice(int unit) const { return cpu_price.empty() ? 0 : cpu_price[unit]; }
  void SetPrices(std::vector<Time> host, std::vector<Time> cpu);  // recomputes `stream`
};

// Without homes (relaxed): tied units cost nothing and take nothing, for a bound that holds wherever they go.
Tables MakeTables(const PlacementProblem& problem, const std::vector<Home>& homes, bool relaxed);

}  // namespace stowage::placement

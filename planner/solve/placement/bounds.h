// Lower bounds of what remains, from every state of the search. Private to this folder.
#pragma once

#include <vector>

#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Times add up for kLatency; else the largest counts.
Time Join(const Tables& t, Time a, Time b);

// What remains at least, from each state of the search. Hops count in kLatency alone.
struct Bounds {
  std::vector<std::vector<Time>> gpu;    // [p][i]: units before i are done, the last run was on device p
  std::vector<std::vector<Time>> cpu;    // [p + 1][i]: the same, but the CPU computed last, after device p
  std::vector<std::vector<Time>> enter;  // [q][i]: device q is about to start with unit i

  Time Root() const { return cpu[0][0]; }
};

// What streaming adds to every run on some device, kept for tables that are equal in all that it depends on: those of
// one problem with its ties in different places.
class RunCache {
 public:
  struct Rows {
    std::vector<Time> streamed;  // [begin][end]
    std::vector<int> last;       // [begin]
  };
  // The rows of `device`, worked out if they are not known. Valid until the next call.
  const Rows& Of(const Tables& t, int device);

 private:
  struct Entry {
    std::int64_t budget, fixed, transient, staging;
    std::vector<Time> stream;
    Rows rows;
  };
  std::vector<std::vector<Entry>> by_device_;
};

// `cache`: of tables of the same problem and tied units; nullptr: none.
Bounds MakeBounds(const Tables& t, RunCache* cache = nullptr);

// The bounds under the penalty of host bytes, set in `t`, that makes the root's bound best: of those at which a unit is
// indifferent between host and disk, or CPU and disk.
Bounds BestBounds(Tables& t, RunCache* cache = nullptr);

// The host room's worth under the penalty, rounded so that a bound less this stays a bound.
Time Refund(const Tables& t);

}  // namespace stowage::placement

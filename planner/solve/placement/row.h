// Lower bounds of all runs that start at one unit of a device. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// What a tie brings to the device that is its home.
struct Burden {
  std::int64_t bytes = 0;
  std::int64_t transient = 0;
  std::int64_t staging = 0;
  Time time = 0;
};

// The bounds of the runs [begin, end) on a device for one `begin` after the other. They depend on what the run is made
// of alone, so beside a unit like itself a run of the same length keeps its bound: in a stack of equal blocks, moving
// on by one works out the ends beyond the stack only.
class RunRow {
 public:
  // *t must outlive this. `more`: beyond what `t` has pinned there.
  RunRow(const Tables& t, int device, const Burden& more = {});

  void MoveTo(int begin);

  int last() const { return begin_ + valid_; }             // the largest end that is worth looking at
  int resident_end() const { return begin_ + resident_; }  // up to here the bound is the value, with nothing streamed

  // With the host prices of `t`, the bound holds for the run's value and prices together. begin < end <= last().
  Time At(int end) const {
    const Time streamed = at_[end - begin_].streamed;
    return streamed >= kInfinite ? kInfinite : base_ + before_[end] + inner_[end] + streamed;
  }

  // The largest end whose bound is at most `most`; the bounds grow with the end. begin if there is none.
  int EndWithin(Time most) const;

 private:
  struct Length {  // of a run of this length that starts at begin_
    std::int64_t state = 0, transient = 0, weights = 0, stuck = 0;
    Time streamed = 0;
    bool resident = true;
  };

  bool TooLong() const { return valid_ > 0 && t_.limited() && At(last()) > t_.limit; }
  void Extend();

  const Tables& t_;
  int device_;
  std::int64_t budget_;  // without staging that is there anyway
  std::int64_t staging_;
  Time start_;
  const Time* before_;
  const Time* inner_;
  std::vector<int> common_;  // [i]: so many units from i on are like those from i + 1 on
  int begin_ = -2;
  int valid_ = 0, resident_ = 0;
  bool ended_ = false;  // one unit more cannot be
  Time base_ = 0;
  std::vector<Length> at_;
};

}  // namespace stowage::placement

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

  int device() const { return device_; }

  int last() const { return begin_ + valid_; }             // the largest end that is worth looking at
  int resident_end() const { return begin_ + resident_; }  // up to here the bound is the value, with nothing streamed

  // With the host prices of `t`, the bound holds for the run's value and prices together. begin < end <= last().
  Time At(int end) const {
    const Time streamed = streamed_[end - begin_];
    return streamed >= kInfinite ? kInfinite : base_ + before_[end] + inner_[end] + streamed;
  }

  // The parts of At(end): Base() + Tail(end) + Streamed()[end - begin], the last being kInfinite or what it is.
  Time Base() const { return base_; }
  Time Tail(int end) const { return before_[end] + inner_[end]; }
  const Time* Streamed() const { return streamed_.data(); }

  // By host: what a run that keeps the limit streams from the host, at least, after a hop that takes so long.
  std::int64_t HostAt(int end, Time hop) const;

  // The largest end whose bound is at most `most`; the bounds grow with the end. begin if there is none.
  int EndWithin(Time most) const;

 private:
  struct Length {  // of a run of this length that starts at begin_
    std::int64_t state = 0, transient = 0, weights = 0, stuck = 0;
    bool resident = true;
  };

  struct FromDisk {  // by host: of a run whose streamed units all come from the disk where they can
    Time time = 0;
    double rate = 0;         // less time a byte of the host, at most
    std::int64_t unit = 0;   // the bytes of each unit that can be streamed; 1: they differ
    std::int64_t least = 0;  // of the host, whatever the time
  };
  class Cover;

  FromDisk Extended(const FromDisk& shorter, int kind, std::int64_t need, Cover& cover) const;
  void FindLevels();
  std::int64_t LeastKept(int kind);
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
  // kMemory: how much staging there may be, and [length][level] the weights that are resident then. Empty: there are
  // too many levels, and streamed units are taken to need none.
  std::vector<std::int64_t> levels_;
  std::vector<std::int64_t> kept_;
  std::vector<Time> streamed_;       // [length]
  std::vector<FromDisk> from_disk_;  // [length]
};

}  // namespace stowage::placement

// Lower bounds of all runs that start at one unit of a device. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/cover.h"
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
  std::int64_t HostAt(int end, Time hop) const {
    const Streams& s = streams_[end - begin_];
    const Time room = t_.memory() ? 0 : t_.limit - hop - base_ - Tail(end);
    return s.count == 1 ? s.HostOf(mixes_[s.first], room) : LeastHost(s, room);
  }

  // The largest end whose bound is at most `most`; the bounds grow with the end. begin if there is none.
  int EndWithin(Time most) const;

 private:
  struct Length {  // of a run of this length that starts at begin_
    std::int64_t state = 0, transient = 0, weights = 0, stuck = 0;
    bool resident = true;
  };

  // By host: what a run streams. From the disk alone where that can be it takes `time` at least; each byte that comes
  // from the host instead, of which there are `least`, saves at most `rate`.
  struct Streams {
    Time time = 0;
    double rate = 0;
    std::int64_t least = 0;
    // Exactly that: so many of mixes_. count < 0: there are too many. Of the commonest kind: what it saves and weighs.
    int first = 0, count = 0;
    Time saved = 0;
    std::int64_t bytes = 0;

    std::int64_t HostOf(const Mix& m, Time room) const {
      const Time over = m.time - room;
      if (over <= 0) return m.host;
      return over <= m.count * saved ? m.host + (over + saved - 1) / saved * bytes : kInfinite;
    }
  };

  std::int64_t LeastHost(const Streams& s, Time room) const;

  Streams StreamsOf(const Streams& shorter, int kind, std::int64_t need, Cover& cover);
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
  std::vector<Time> streamed_;    // [length]
  std::vector<Streams> streams_;  // [length]
  std::vector<Mix> mixes_;
};

}  // namespace stowage::placement

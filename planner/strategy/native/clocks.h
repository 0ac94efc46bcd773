// Clocks of a closed form. Internal to planner/strategy/native.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "planner/cost/cost.h"
#include "planner/machine/machine.h"

namespace stowage {

// Pieces that follow each other over a link into a ring and leave it in that order.
class PieceClock {
 public:
  explicit PieceClock(std::int64_t capacity) : capacity_(capacity) {}  // bytes, or slots

  // When a piece has arrived that is there to be copied from `ready` on and takes `copy`.
  Seconds Bring(std::int64_t size, Seconds ready, Seconds copy) {
    for (; used_ + size > capacity_ && !held_.empty(); held_.pop_front()) {
      used_ -= held_.front().size;
      ready = std::max(ready, held_.front().freed);
    }
    used_ += size;
    return free_ = std::max(free_, ready) + copy;
  }
  // The piece brought last will be read until then.
  void Consumed(std::int64_t size, Seconds at) { held_.push_back({size, at}); }

 private:
  struct Held {
    std::int64_t size = 0;
    Seconds freed;
  };
  std::int64_t capacity_, used_ = 0;
  Seconds free_;
  std::deque<Held> held_;
};

// How long work takes alone on a resource, and how busy each one is. A resource that the machine lacks takes no time.
class Durations {
 public:
  explicit Durations(const Machine& machine) : machine_(machine) {}

  Seconds Compute(const Kernel& kernel, std::int64_t iteration, const std::string& resource) const {
    const std::int32_t at = machine_.FindResource(resource);
    if (at < 0 || !machine_.resources[at].compute) return Seconds(0);
    return Duration(kernel, iteration, *machine_.resources[at].compute);
  }
  Seconds Transfer(Bytes bytes, const std::string& resource) const {
    const std::int32_t at = machine_.FindResource(resource);
    if (at < 0 || !machine_.resources[at].transfer) return Seconds(0);
    return Duration(bytes, *machine_.resources[at].transfer);
  }
  Seconds launch() const { return machine_.dispatch.native_launch; }

 private:
  const Machine& machine_;
};

using BusyTimes = std::map<std::string, Seconds>;

}  // namespace stowage

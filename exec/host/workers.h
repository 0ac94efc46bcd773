// Who runs the queues of host devices: one thread per queue here; the adversarial scheduler of exec/cuda/fake in tests.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "exec/device.h"

namespace stowage {

struct Work {
  StepTag tag;
  std::function<Status()> run;
  std::span<std::byte> undefined;  // contents undefined while it runs (a copy's target); empty: none, or in place
  bool compute = false;            // a kernel, not a transfer
};

// Same rules as Device: a queue runs its work in order, a failed queue skips what is behind.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual int OpenQueue(std::string_view name) = 0;
  virtual void Wait(int queue, EventPtr event) = 0;  // blocks the queue, not the caller
  virtual void Run(int queue, Work work) = 0;
  virtual EventPtr Record(int queue) = 0;
  virtual void StartClock(Device::Clock::time_point epoch) = 0;
  virtual Status Drain() = 0;
  virtual std::vector<StepSpan> TakeSpans() = 0;
};

// One thread per queue. An idle or pacing thread sleeps; nothing spins.
std::unique_ptr<Workers> MakeThreadWorkers();

}  // namespace stowage

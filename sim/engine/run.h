// The two ways to run a program. Both keep the same books and give the same bytes where both apply.
#pragma once

#include "planner/base/result.h"
#include "sim/engine/accounts.h"
#include "sim/engine/engine.h"
#include "sim/engine/memory.h"
#include "sim/engine/program.h"
#include "sim/timeline/timeline.h"

namespace stowage::sim {

// The memory's view of the run's queues: the run makes it follow itself.
class Progress final : public QueueProgress {
 public:
  double Mark(std::int32_t queue) const override { return running_->Mark(queue); }
  bool Passed(std::int32_t queue, double mark, double at) const override { return running_->Passed(queue, mark, at); }
  void Follow(const QueueProgress* running) { running_ = running; }

 private:
  const QueueProgress* running_ = nullptr;
};

struct Books {
  const Machine* machine;
  Accounts* accounts;
  Memory* memory;  // null: `replayed` says what it would
  Progress* progress;
  std::vector<StepSpan>* spans;                     // null: not recorded
  std::vector<AllocatorActs::Act>* acts = nullptr;  // filled by RunForward; null: not recorded
  const AllocatorActs* replayed = nullptr;
  bool out_of_memory = false;  // set when the run ended there
};

// True if the queue belongs to the device of that pool: "gpu0/…" to "gpu0".
bool QueueOfPool(const Schedule& schedule, std::int32_t queue, std::int32_t pool);

// The pool that a memory act is about.
std::int32_t PoolOf(const Schedule& schedule, StepId step);

// Both need program.forward. RunTimes replays what the allocators did and keeps no book but the phases' ends.
Status RunForward(const Program& program, Books& books);
Status RunTimes(const Program& program, Books& books);
Status RunEvents(const Program& program, Books& books);

}  // namespace stowage::sim

// Small schedules for tests: steps in order, queues, resources and issuers by name, durations given in seconds.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "planner/machine/machine.h"
#include "planner/schedule/schedule.h"

namespace stowage {

class ToySchedule {
 public:
  ToySchedule() { schedule.name = "test"; }

  // Starts a phase; steps added from here on are its body (after Epilogue(): its epilogue).
  void Phase(std::string name, std::int64_t iterations = 1, bool captured = false);
  void Epilogue();

  // A job of a given duration on queue "q" with these resources; the id of the step.
  StepId Job(StepKind kind, std::string_view queue, std::initializer_list<std::string_view> resources, double seconds,
             std::vector<StepRef> after = {});
  StepId Compute(std::string_view queue, double seconds, std::vector<StepRef> after = {}) {
    return Job(StepKind::kCompute, queue, {std::string(queue.substr(0, queue.find('/'))) + ".sm"}, seconds, after);
  }
  StepId Copy(std::string_view queue, double seconds, std::vector<StepRef> after = {}) {
    return Job(StepKind::kCopy, queue, {std::string(queue.substr(0, queue.find('/'))) + ".h2d"}, seconds, after);
  }
  StepId Wait(StepId target, std::int32_t back = 0);
  StepId Act(StepKind kind, BufferId buffer);
  BufferId AddBuffer(Buffer buffer);
  std::int32_t Pool(std::string_view name, Bytes budget, Allocator allocator = Allocator::kArena);
  Step& At(StepId id) { return schedule.steps[static_cast<std::size_t>(id)]; }

  // All resources the schedule names, without rates: steps bring their durations.
  Machine machine() const;

  Schedule schedule;
  std::int32_t issuer = 0;  // of the steps added next
  DispatchCost dispatch;
  std::vector<std::string> shared;  // resources of machine() that share

 private:
  StepId Add(Step step);
};

std::int32_t IndexOf(std::vector<std::string>& names, std::string_view name);  // adds it when absent

}  // namespace stowage

#include "sim/engine/toy_schedule.h"

#include <algorithm>
#include <utility>

namespace stowage {

std::int32_t IndexOf(std::vector<std::string>& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  if (it != names.end()) return static_cast<std::int32_t>(it - names.begin());
  names.emplace_back(name);
  return static_cast<std::int32_t>(names.size()) - 1;
}

void ToySchedule::Phase(std::string name, std::int64_t iterations, bool captured) {
  const auto here = static_cast<StepId>(schedule.steps.size());
  stowage::Phase& phase = schedule.phases.emplace_back();
  phase.name = std::move(name);
  phase.prologue = {here, here, 0};
  phase.body = {here, here, 1};
  phase.epilogue = {here, here, 0};
  phase.iterations = iterations;
  phase.captured = captured;
}

void ToySchedule::Epilogue() {
  stowage::Phase& phase = schedule.phases.back();
  phase.epilogue = {phase.body.end, phase.body.end, 1};
}

StepId ToySchedule::Add(Step step) {
  if (schedule.phases.empty()) Phase("run");
  while (schedule.issuers.size() <= static_cast<std::size_t>(issuer)) schedule.issuers.emplace_back();
  step.issuer = issuer;
  schedule.steps.push_back(std::move(step));
  stowage::Phase& phase = schedule.phases.back();
  const auto end = static_cast<StepId>(schedule.steps.size());
  if (phase.epilogue.passes > 0) {
    phase.epilogue.end = end;
  } else {
    phase.body.end = end;
    phase.epilogue = {end, end, 0};
  }
  return end - 1;
}

StepId ToySchedule::Job(StepKind kind, std::string_view queue, std::initializer_list<std::string_view> resources,
                        double seconds, std::vector<StepRef> after) {
  Step step;
  step.kind = kind;
  step.fixed = Seconds(seconds);
  step.after = std::move(after);
  if (!queue.empty()) {
    const auto it =
        std::find_if(schedule.queues.begin(), schedule.queues.end(), [&](const Queue& q) { return q.name == queue; });
    step.queue = static_cast<std::int32_t>(it - schedule.queues.begin());
    if (it == schedule.queues.end()) schedule.queues.push_back({std::string(queue)});
  }
  std::size_t used = 0;
  for (const std::string_view r : resources) {
    step.resources.at(used++) = static_cast<std::int16_t>(IndexOf(schedule.resources, r));
  }
  return Add(std::move(step));
}

StepId ToySchedule::Wait(StepId target, std::int32_t back) {
  Step step;
  step.kind = StepKind::kWait;
  step.target = {target, back};
  return Add(std::move(step));
}

StepId ToySchedule::Act(StepKind kind, BufferId buffer) {
  Step step;
  step.kind = kind;
  step.buffer = buffer;
  return Add(std::move(step));
}

BufferId ToySchedule::AddBuffer(Buffer buffer) {
  schedule.buffers.push_back(std::move(buffer));
  return static_cast<BufferId>(schedule.buffers.size()) - 1;
}

std::int32_t ToySchedule::Pool(std::string_view name, Bytes budget, Allocator allocator) {
  schedule.pools.push_back({std::string(name), allocator, budget});
  return static_cast<std::int32_t>(schedule.pools.size()) - 1;
}

Machine ToySchedule::machine() const {
  Machine machine;
  machine.name = "test machine";
  machine.dispatch = dispatch;
  for (const std::string& name : schedule.resources) {
    Resource& resource = machine.resources.emplace_back();
    resource.name = name;
    resource.shared = std::find(shared.begin(), shared.end(), name) != shared.end();
  }
  return machine;
}

}  // namespace stowage

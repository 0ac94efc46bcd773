// A task whose budgets may be tried: it has a machine of its own.
#pragma once

#include <string_view>

#include "planner/strategy/strategy.h"

namespace stowage {

class BudgetProbe {
 public:
  explicit BudgetProbe(const PlanningTask& task) : machine_(*task.machine), task_(task) { task_.machine = &machine_; }
  BudgetProbe(const BudgetProbe&) = delete;  // its task points into it
  BudgetProbe& operator=(const BudgetProbe&) = delete;

  const PlanningTask& task() const { return task_; }
  const Machine& machine() const { return machine_; }
  Pool& pool(std::string_view name) { return machine_.pools[machine_.FindPool(name)]; }  // one that is there
  // Host memory of which nothing but its budget limits what may be pinned.
  Pool& UnlimitedHost() {
    pool("host").pinned_limit.reset();
    return pool("host");
  }

 private:
  Machine machine_;
  PlanningTask task_;
};

}  // namespace stowage

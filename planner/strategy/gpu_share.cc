#include "planner/strategy/gpu_share.h"

#include <fmt/format.h>

#include "planner/strategy/budget_probe.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostGrowth = 64;

std::vector<Bytes> Scaled(const Machine& machine, std::int64_t share) {
  std::vector<Bytes> out;
  for (std::size_t g = 0; g < machine.gpus.size(); ++g) {
    const Bytes now = machine.pools[machine.FindPool(fmt::format("gpu{}", g))].budget;
    out.push_back(Bytes(now.value() / kShareSteps * share + now.value() % kShareSteps * share / kShareSteps));
  }
  return out;
}

}  // namespace

Result<std::vector<Bytes>> SmallestShare(const PlanningTask& task,
                                         const std::function<Status(const PlanningTask&)>& fits) {
  BudgetProbe probe(task);
  const auto try_share = [&](std::int64_t share) {
    const std::vector<Bytes> budgets = Scaled(*task.machine, share);
    for (std::size_t g = 0; g < budgets.size(); ++g) probe.pool(fmt::format("gpu{}", g)).budget = budgets[g];
    return fits(probe.task());
  };
  std::int64_t too_small = 0, enough = kShareSteps;
  for (Status now = try_share(enough); !now; now = try_share(enough)) {
    if (enough >= kShareSteps * kMostGrowth) return now.error();
    too_small = enough;
    enough *= 2;
  }
  while (enough - too_small > 1) {
    const std::int64_t middle = too_small + (enough - too_small) / 2;
    (try_share(middle) ? enough : too_small) = middle;
  }
  return Scaled(*task.machine, enough);
}

}  // namespace stowage

#include "planner/strategy/torch/torch_plan.h"

#include <fmt/format.h>

#include <utility>

namespace stowage {

Plan DescribeTorchPlan(const PlanningTask& task, const Model& model, const TorchPlacement& placement,
                       std::string_view strategy) {
  Plan plan;
  plan.model = model.name;
  plan.strategy = strategy;
  plan.runtime = "torch";
  plan.request = task.request;
  for (const Pool& p : task.machine->pools) {
    if (p.kind != PoolKind::kDisk) plan.budgets.emplace_back(p.name, p.budget);
  }
  for (const Reservation& r : task.machine->reservations) plan.reservations.emplace_back(r.pool, r.bytes);
  for (const Tensor& t : model.tensors) {
    TensorPlan tensor;
    tensor.name = t.name;
    tensor.dtype = t.dtype;
    tensor.shape = t.shape;
    const auto id = static_cast<TensorId>(&t - model.tensors.data());
    tensor.device = fmt::format("gpu{}", placement.GpuOf(id));
    const ModuleId block = model.BlockOf(t.module);
    if (block != kNoId) tensor.block = model.modules[block].name;
    if (t.tied_to != kNoId) {
      tensor.tied_to = model.tensors[t.tied_to].name;
    } else {
      Residency home;  // no arena: torch's allocators decide where it lies
      const WeightHome at = t.buffer ? WeightHome::kDevice : placement.homes[id];
      home.where = at == WeightHome::kDevice ? Where::kResident : Where::kStreamed;
      home.pool = at == WeightHome::kDevice ? tensor.device : at == WeightHome::kHost ? "host" : "disk";
      home.row_end = tensor.Rows();
      tensor.parts.push_back(std::move(home));
    }
    plan.tensors.push_back(std::move(tensor));
  }
  return plan;
}

}  // namespace stowage

#include "planner/strategy/native/resident.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "planner/strategy/budget_probe.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/load.h"
#include "planner/strategy/native/native_form.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

NativeProposal Everything(const PlanningTask& task) {
  NativeProposal p{.strategy = "resident"};
  for (const Tensor& t : task.model->tensors) p.resident_rows.push_back(RowsOf(t));
  return p;
}

Status CheckNone(std::string_view parameters) {
  if (parameters.empty()) return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("resident takes no parameters, not '{}'", parameters)};
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_RETURN_IF_ERROR(CheckNone(parameters));
  STOWAGE_TRY(const auto native, RealizeModel(task));
  return LowerNative(*native, task, Everything(task));
}

Result<Bytes> SmallestGpu(const PlanningTask& task) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  BudgetProbe probe(task);
  Bytes& budget = probe.pool("gpu0").budget;
  budget = LayOut(*native, task, Everything(task)).weights + FixedBytesOf(*native, task).total();
  STOWAGE_RETURN_IF_ERROR(CheckFits(*native, probe.task(), Everything(task)));  // the host may be too small
  return budget;
}

Result<Bytes> SmallestHost(const PlanningTask& task) {
  STOWAGE_TRY(const auto native, RealizeModel(task));
  BudgetProbe probe(task);
  Pool& host = probe.UnlimitedHost();
  host.budget = HostBudgetFor(*native, task, Everything(task));
  STOWAGE_RETURN_IF_ERROR(CheckFits(*native, probe.task(), Everything(task)));  // gpu0 may be too small
  return host.budget;
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  return BestForm(task.request, {std::string(parameters)}, [&](const std::string& p) -> Result<ClosedForm> {
    STOWAGE_RETURN_IF_ERROR(CheckNone(p));
    STOWAGE_TRY(const auto native, RealizeModel(task));
    return FormOf(*native, task, Everything(task));
  });
}

ClosedForm FromSizes(const PlanningTask& task) {
  const RequestSizes sizes = SizesOf(*task.model, task.request);
  return CloseForm(
      task, sizes,
      {.gpu = sizes.weights + sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.native_activations.value_or(Bytes(0)),
       .host = std::min(sizes.weights, kStagingRing)});
}

}  // namespace

Strategy ResidentStrategy() {
  return {.name = "resident",
          .runtime = "native",
          .summary = "all weights on the GPU",
          .lower = Lower,
          .candidates = [](const PlanningTask&) { return std::vector<std::string>{""}; },
          .smallest_gpu_budget = SmallestGpu,
          .smallest_host_budget = SmallestHost,
          .closed_form = Close,
          .from_sizes = FromSizes};
}

}  // namespace stowage

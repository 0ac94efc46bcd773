#include "planner/strategy/native/resident.h"

#include <fmt/format.h>

#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {
namespace {

NativeProposal Everything(const PlanningTask& task) {
  NativeProposal p{.strategy = "resident"};
  for (const Tensor& t : task.model->tensors) p.resident_rows.push_back(RowsOf(t));
  return p;
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  if (!parameters.empty()) {
    return Error{ErrorCode::kInvalidInput, fmt::format("resident takes no parameters, not '{}'", parameters)};
  }
  STOWAGE_TRY(const NativeModel native, RealizeModel(task));
  return LowerNative(native, task, Everything(task));
}

Result<Bytes> Smallest(const PlanningTask& task) {
  STOWAGE_TRY(const NativeModel native, RealizeModel(task));
  return LayOut(native, task, Everything(task)).weights + FixedBytesOf(native, task).total();
}

}  // namespace

Strategy ResidentStrategy() {
  return {.name = "resident",
          .runtime = "native",
          .summary = "all weights on the GPU",
          .lower = Lower,
          .candidates = [](const PlanningTask&) { return std::vector<std::string>{""}; },
          .smallest_gpu_budget = Smallest};
}

}  // namespace stowage

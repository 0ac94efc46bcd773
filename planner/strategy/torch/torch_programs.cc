#include "planner/strategy/torch/torch_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stowage {
namespace {

Result<std::shared_ptr<const TorchPrograms>> RealizeResident(const PlanningTask& task) {
  if (task.cache != nullptr && task.cache->torch != nullptr && task.cache->torch->first_pass == task.FirstPass()) {
    return task.cache->torch;
  }
  STOWAGE_RETURN_IF_ERROR(CheckKvCache(task.request, "torch"));
  auto programs = std::make_shared<TorchPrograms>();
  programs->first_pass = task.FirstPass();
  STOWAGE_TRY(programs->prefill, RealizeTorch(*task.model, PrefillOf(task.request)));
  if (task.LoweredPasses() > 0) {
    Pass decode = DecodeOf(task.request);
    decode.past += task.FirstPass();
    if (Recomputes(task)) decode = RecomputeOf(task.request, task.request.DecodePasses() - 1);
    STOWAGE_TRY(programs->decode, RealizeTorch(*task.model, decode));
  }
  if (task.cache != nullptr) task.cache->torch = programs;
  return std::shared_ptr<const TorchPrograms>(std::move(programs));
}

}  // namespace

TorchPlacement TorchPlacement::Resident(const Model& model) {
  return {.hooks = Hooks::kNone, .homes = std::vector(model.tensors.size(), WeightHome::kDevice)};
}

TorchPlacement TorchPlacement::SequentialOffload(const Model& model) {
  return {.hooks = Hooks::kCpuOffload, .homes = std::vector(model.tensors.size(), WeightHome::kHost)};
}

TorchPlacement TorchPlacement::Dispatched(std::vector<WeightHome> homes) {
  const bool all = std::all_of(homes.begin(), homes.end(), [](WeightHome h) { return h == WeightHome::kDevice; });
  return {.hooks = all ? Hooks::kNone : Hooks::kDispatch, .homes = std::move(homes)};
}

TorchProgram Hooked(TorchProgram program, const Model& model, const TorchPlacement& placement) {
  if (placement.hooks == TorchPlacement::Hooks::kNone) return program;
  if (placement.hooks == TorchPlacement::Hooks::kCpuOffload)
    return AddSequentialOffloadHooks(std::move(program), model);
  std::vector<bool> offloaded;
  for (const Tensor& t : model.tensors) {
    const auto id = static_cast<TensorId>(offloaded.size());
    offloaded.push_back(!t.buffer && placement.homes[t.tied_to == kNoId ? id : t.tied_to] != WeightHome::kDevice);
  }
  return AddDispatchHooks(std::move(program), model, offloaded);
}

Result<std::shared_ptr<const TorchPrograms>> RealizePasses(const PlanningTask& task, const TorchPlacement& placement) {
  if (!task.model->quantization.empty()) {
    return Error{ErrorCode::kInfeasible,
                 fmt::format("eager torch with {} weights is not simulated yet", task.model->quantization)};
  }
  STOWAGE_TRY(auto resident, RealizeResident(task));
  if (placement.hooks == TorchPlacement::Hooks::kNone) return resident;
  auto hooked = std::make_shared<TorchPrograms>();
  hooked->prefill = Hooked(resident->prefill, *task.model, placement);
  if (task.LoweredPasses() > 0) hooked->decode = Hooked(resident->decode, *task.model, placement);
  return std::shared_ptr<const TorchPrograms>(std::move(hooked));
}

}  // namespace stowage

#include "planner/strategy/torch/torch_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "planner/families/families.h"
#include "planner/realize/torch_model.h"

namespace stowage {
namespace {

// A schedule's passes hand on a cache, whole, and choose from logits.
Status CheckGenerates(const PlanningTask& task, const TorchPrograms& programs) {
  const TorchProgram& decode = programs.decode;
  const bool hands_on = decode.events.empty() || decode.past.size() == programs.prefill.cache.size();
  const bool cached = Recomputes(task) ? MakesTokens(programs.held) : !programs.prefill.cache.empty() && hands_on;
  if (cached && !decode.own_text) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("model '{}' of family {} has no passes that generate token by token; only its traces are "
                           "realized for torch (inspect trace)",
                           programs.held.name, programs.held.family)};
}

Result<std::shared_ptr<const TorchPrograms>> RealizeResident(const PlanningTask& task) {
  if (task.cache != nullptr && task.cache->torch != nullptr && task.cache->torch->first_pass == task.FirstPass()) {
    return task.cache->torch;
  }
  STOWAGE_RETURN_IF_ERROR(CheckKvCache(task.request, "torch"));
  auto programs = std::make_shared<TorchPrograms>();
  programs->first_pass = task.FirstPass();
  STOWAGE_TRY(programs->held, AsTransformersHolds(*task.model));
  STOWAGE_TRY(programs->prefill, RealizeTorch(programs->held, PrefillOf(task.request)));
  if (task.LoweredPasses() > 0) {
    Pass decode = DecodeOf(task.request);
    decode.past += task.FirstPass();
    if (Recomputes(task)) decode = RecomputeOf(task.request, task.request.DecodePasses() - 1);
    STOWAGE_TRY(programs->decode, RealizeTorch(programs->held, decode));
  }
  STOWAGE_RETURN_IF_ERROR(CheckGenerates(task, *programs));
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

TorchPlacement TorchPlacement::ModelOffload(const Model& model) {
  return {.hooks = Hooks::kModelOffload, .homes = std::vector(model.tensors.size(), WeightHome::kHost)};
}

TorchPlacement TorchPlacement::GroupOffloaded(const Model& model, const GroupOffload& group) {
  const WeightHome home = group.disk ? WeightHome::kDisk : WeightHome::kHost;
  return {.hooks = Hooks::kGroupOffload, .homes = std::vector(model.tensors.size(), home), .group = group};
}

bool TorchPlacement::Stays(const Model& model, TensorId id) const {
  if (hooks == Hooks::kGroupOffload) return false;
  return hooks == Hooks::kModelOffload || model.tensors[id].buffer || homes[id] == WeightHome::kDevice;
}

Result<TorchProgram> Hooked(TorchProgram program, const Model& model, const TorchPlacement& placement,
                            const TorchProgram* first) {
  using Hooks = TorchPlacement::Hooks;
  if (placement.hooks == Hooks::kNone) return program;
  if (placement.hooks == Hooks::kCpuOffload) return AddSequentialOffloadHooks(std::move(program), model);
  if (placement.hooks == Hooks::kModelOffload) {
    if (first == nullptr) program = AddModelOffloadHooks(std::move(program), model);
    return program;
  }
  if (placement.hooks == Hooks::kGroupOffload) {
    STOWAGE_TRY(const OffloadGroups groups, GroupsOf(model, placement.group));
    if (first == nullptr) return AddGroupOffloadHooks(std::move(program), model, groups, nullptr);
    const std::vector<ModuleId> traced = TracedOrder(*first, groups);
    return AddGroupOffloadHooks(std::move(program), model, groups, &traced);
  }
  std::vector<bool> offloaded;
  for (const Tensor& t : model.tensors) {
    const auto id = static_cast<TensorId>(offloaded.size());
    offloaded.push_back(!t.buffer && placement.homes[t.tied_to == kNoId ? id : t.tied_to] != WeightHome::kDevice);
  }
  return AddDispatchHooks(std::move(program), model, offloaded);
}

Result<TorchPlacement> PlacementOn(const Model& held, const Model& model, const TorchPlacement& placement) {
  if (placement.hooks == TorchPlacement::Hooks::kCpuOffload) return TorchPlacement::SequentialOffload(held);
  if (placement.hooks == TorchPlacement::Hooks::kNone) return TorchPlacement::Resident(held);
  if (placement.hooks == TorchPlacement::Hooks::kModelOffload) return TorchPlacement::ModelOffload(held);
  if (placement.hooks == TorchPlacement::Hooks::kGroupOffload)
    return TorchPlacement::GroupOffloaded(held, placement.group);
  const auto same = [](const Tensor& a, const Tensor& b) { return a.name == b.name; };
  if (std::equal(held.tensors.begin(), held.tensors.end(), model.tensors.begin(), model.tensors.end(), same)) {
    return placement;
  }
  return Error{ErrorCode::kInvalidInput,
               fmt::format("model '{}' of family {}: transformers holds other tensors than its checkpoint has (stacked "
                           "experts, say); device maps of such are not simulated yet",
                           model.name, model.family)};
}

Result<std::shared_ptr<const TorchPrograms>> RealizePasses(const PlanningTask& task, const TorchPlacement& placement) {
  if (!task.model->quantization.empty()) {
    return Error{ErrorCode::kInfeasible,
                 fmt::format("eager torch with {} weights is not simulated yet", task.model->quantization)};
  }
  STOWAGE_TRY(auto resident, RealizeResident(task));
  if (placement.hooks == TorchPlacement::Hooks::kNone) return resident;
  STOWAGE_TRY(const TorchPlacement held, PlacementOn(resident->held, *task.model, placement));
  auto hooked = std::make_shared<TorchPrograms>();
  hooked->held = resident->held;
  STOWAGE_TRY(hooked->prefill, Hooked(resident->prefill, hooked->held, held, nullptr));
  if (task.LoweredPasses() > 0) {
    STOWAGE_TRY(hooked->decode, Hooked(resident->decode, hooked->held, held, &resident->prefill));
  }
  return std::shared_ptr<const TorchPrograms>(std::move(hooked));
}

}  // namespace stowage

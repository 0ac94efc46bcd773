#include "planner/strategy/torch/torch_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "planner/families/families.h"
#include "planner/realize/torch_model.h"

namespace stowage {
namespace {

Status Assign(Result<TorchProgram> from, TorchProgram& to) {
  STOWAGE_TRY(to, std::move(from));
  return OkStatus();
}

// The passes of a decode hand on a cache, whole, and choose from logits.
Status CheckGenerates(const PlanningTask& task, const TorchPrograms& programs) {
  if (task.request.new_tokens == 0) return OkStatus();
  const TorchProgram& decode = programs.decode;
  const bool hands_on = decode.events.empty() || decode.past.size() == programs.prefill.cache.size();
  const bool cached = Recomputes(task) ? MakesTokens(programs.held) : !programs.prefill.cache.empty() && hands_on;
  if (cached) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("model '{}' of family {} has no passes that generate token by token; only its traces are "
                           "realized for torch (inspect trace)",
                           programs.held.name, programs.held.family)};
}

Status RealizeDecode(const PlanningTask& task, TorchPrograms& programs) {
  programs.turn = task.LoweredPasses();
  if (programs.turn == 0) return OkStatus();
  if (Recomputes(task)) {
    return Assign(RealizeTorch(programs.held, RecomputeOf(task.request, task.request.DecodePasses() - 1)),
                  programs.decode);
  }
  Pass decode = DecodeOf(task.request);
  decode.past += task.FirstPass();
  if (const std::optional<std::int64_t> full = TurnOf(programs.held, decode); full && decode.past < *full) {
    // A sample is of the end: it is not cut.
    if (task.last_decode_passes > 0 && decode.past + programs.turn > *full) {
      decode.past = *full;
    } else {
      programs.turn = std::min(programs.turn, *full - decode.past);
    }
  }
  STOWAGE_RETURN_IF_ERROR(Assign(RealizeTorch(programs.held, decode), programs.decode));
  if (programs.turn == task.LoweredPasses()) return OkStatus();
  decode.past += programs.turn;
  return Assign(RealizeTorch(programs.held, decode), programs.late);
}

Result<std::shared_ptr<const TorchPrograms>> RealizeResident(const PlanningTask& task) {
  std::unique_lock<std::mutex> lock;
  if (task.cache != nullptr) lock = std::unique_lock(task.cache->mutex);
  if (task.cache != nullptr && task.cache->torch != nullptr && task.cache->torch->first_pass == task.FirstPass()) {
    return task.cache->torch;
  }
  STOWAGE_RETURN_IF_ERROR(CheckForRuntime(task.request, "torch"));
  auto programs = std::make_shared<TorchPrograms>();
  programs->first_pass = task.FirstPass();
  STOWAGE_TRY(programs->held, AsTransformersHolds(*task.model));
  STOWAGE_TRY(programs->prefill, RealizeTorch(programs->held, PrefillOf(task.request)));
  STOWAGE_RETURN_IF_ERROR(RealizeDecode(task, *programs));
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

TorchPlacement TorchPlacement::Dispatched(DeviceMapHomes map) {
  const auto resident = [](WeightHome h) { return h == WeightHome::kDevice; };
  const auto here = [&](std::int16_t gpu) { return gpu == map.main; };
  const bool one = std::all_of(map.gpu.begin(), map.gpu.end(), here);
  TorchPlacement out;
  if (!one || !std::all_of(map.weights.begin(), map.weights.end(), resident)) out.hooks = Hooks::kDispatch;
  if (!map.OneGpu()) {
    out.hooked = std::move(map.hooked);
    for (std::size_t m = 0; m < out.hooked.size(); ++m) {
      if (!out.hooked[m]) map.module[m] = -1;
    }
    out.devices = {.tensors = std::move(map.gpu), .modules = std::move(map.module), .main = map.main};
  }
  out.homes = std::move(map.weights);
  return out;
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
  if (placement.hooks == Hooks::kCpuOffload) return AddSequentialOffloadHooks(std::move(program), model);
  if (placement.hooks == Hooks::kModelOffload) {
    if (first == nullptr) program = AddModelOffloadHooks(std::move(program), model);
    return program;
  }
  if (placement.hooks == Hooks::kGroupOffload) {
    STOWAGE_TRY(const OffloadGroups groups, GroupsOf(model, placement.group));
    if (first == nullptr) return AddGroupOffloadHooks(std::move(program), model, groups, nullptr);
    if (program.crossed && placement.group.stream) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("model '{}': with a stream, groups come in the order of the first pass, in which the "
                               "encoder runs; passes of the decoder alone are not realized (group-offload:leaf is)",
                               model.name)};
    }
    const std::vector<ModuleId> traced = TracedOrder(*first, groups);
    return AddGroupOffloadHooks(std::move(program), model, groups, &traced);
  }
  if (placement.hooks == Hooks::kDispatch) {
    std::vector<bool> offloaded;
    for (const Tensor& t : model.tensors) {
      const auto id = static_cast<TensorId>(offloaded.size());
      offloaded.push_back(!t.buffer && placement.homes[t.tied_to == kNoId ? id : t.tied_to] != WeightHome::kDevice);
    }
    program = AddDispatchHooks(std::move(program), model, offloaded);
  }
  if (placement.devices.tensors.empty()) return program;
  program.hooked = placement.hooks == Hooks::kDispatch ? placement.hooked : std::vector<bool>{};
  return SpreadOverGpus(std::move(program), model, placement.devices);
}

namespace {

// Where a tensor of `held` is by a placement of `model`, which has others in its place: where its block is as a whole.
Result<WeightHome> HomeOf(const Model& held, const Tensor& tensor, const Model& model,
                          const TorchPlacement& placement) {
  if (const TensorId same = model.FindTensor(tensor.name); same != kNoId) return placement.homes[same];
  const ModuleId block = held.BlockOf(tensor.module);
  const ModuleId there = block == kNoId ? kNoId : model.FindModule(held.modules[block].name);
  std::optional<WeightHome> home;
  for (std::size_t t = 0; there != kNoId && t < model.tensors.size(); ++t) {
    if (model.BlockOf(model.tensors[t].module) != there) continue;
    if (home && *home != placement.homes[t]) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("transformers holds '{}' in place of several tensors of {}, which the map splits",
                               tensor.name, held.modules[block].name)};
    }
    home = placement.homes[t];
  }
  if (home) return *home;
  return Error{
      ErrorCode::kInvalidInput,
      fmt::format("transformers holds '{}', which the checkpoint of {} has nothing for", tensor.name, model.name)};
}

}  // namespace

Result<TorchPlacement> PlacementOn(const Model& held, const Model& model, const TorchPlacement& placement) {
  if (placement.hooks == TorchPlacement::Hooks::kCpuOffload) return TorchPlacement::SequentialOffload(held);
  if (placement.hooks == TorchPlacement::Hooks::kModelOffload) return TorchPlacement::ModelOffload(held);
  if (placement.hooks == TorchPlacement::Hooks::kGroupOffload) {
    return TorchPlacement::GroupOffloaded(held, placement.group);
  }
  if (placement.hooks == TorchPlacement::Hooks::kNone && placement.devices.tensors.empty()) {
    return TorchPlacement::Resident(held);
  }
  const auto same = [](const Tensor& a, const Tensor& b) { return a.name == b.name; };
  if (held.modules.size() == model.modules.size() &&
      std::equal(held.tensors.begin(), held.tensors.end(), model.tensors.begin(), model.tensors.end(), same)) {
    return placement;
  }
  if (!placement.devices.tensors.empty()) {
    return Error{
        ErrorCode::kInvalidInput,
        fmt::format("model '{}' of family {}: transformers holds other tensors than its checkpoint has (stacked "
                    "experts, say); maps of such over several GPUs are not simulated yet",
                    model.name, model.family)};
  }
  TorchPlacement out = placement;
  out.homes.clear();
  for (const Tensor& t : held.tensors) {
    STOWAGE_TRY(const WeightHome home, HomeOf(held, t, model, placement));
    out.homes.push_back(home);
  }
  return out;
}

std::string TorchRefusal(const Model& model) {
  if (model.quantization.empty()) return "";
  return fmt::format("eager torch with {} weights is not simulated yet", model.quantization);
}

Result<std::shared_ptr<const TorchPrograms>> RealizePasses(const PlanningTask& task, const TorchPlacement& placement) {
  if (std::string refusal = TorchRefusal(*task.model); !refusal.empty()) {
    return Error{ErrorCode::kInfeasible, std::move(refusal)};
  }
  STOWAGE_TRY(auto resident, RealizeResident(task));
  if (placement.hooks == TorchPlacement::Hooks::kNone && placement.devices.tensors.empty()) return resident;
  STOWAGE_TRY(const TorchPlacement held, PlacementOn(resident->held, *task.model, placement));
  auto hooked = std::make_shared<TorchPrograms>();
  hooked->held = resident->held;
  STOWAGE_TRY(hooked->prefill, Hooked(resident->prefill, hooked->held, held, nullptr));
  hooked->turn = resident->turn;
  if (task.LoweredPasses() > 0) {
    STOWAGE_TRY(hooked->decode, Hooked(resident->decode, hooked->held, held, &resident->prefill));
  }
  if (!resident->late.events.empty()) {
    STOWAGE_TRY(hooked->late, Hooked(resident->late, hooked->held, held, &resident->prefill));
  }
  return std::shared_ptr<const TorchPrograms>(std::move(hooked));
}

}  // namespace stowage

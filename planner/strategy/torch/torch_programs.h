// The passes of a torch strategy with the hooks of its placement. Internal to planner/strategy/torch.
#pragma once

#include <memory>
#include <string_view>

#include "planner/base/result.h"
#include "planner/strategy/torch/torch_lowering.h"

namespace stowage {

inline bool Recomputes(const PlanningTask& task) { return task.request.kv == KvCache::kNone; }
inline bool HasOwnStorage(const Tensor& tensor) { return tensor.tied_to == kNoId; }

// `program`, realized with all weights resident on gpu0, with the hooks that the placement's modules get, on its GPUs. `first`: the first
// pass's program, nullptr if this is it.
Result<TorchProgram> Hooked(TorchProgram program, const Model& model, const TorchPlacement& placement,
                            const TorchProgram* first);

// The placement of `model`'s tensors as one of those that transformers holds. kInvalidInput where a map of the one says
// nothing about the other.
Result<TorchPlacement> PlacementOn(const Model& held, const Model& model, const TorchPlacement& placement);

// kInvalidInput: weights on the disk in a file of another dtype.
Status CheckPlacement(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy);
// kInvalidInput: more passes without a cache than are simulated.
Status CheckPasses(const PlanningTask& task);

// The load phase alone. `held`: on the tensors of programs.held.
Result<Schedule> LowerTorchLoad(const PlanningTask& task, const TorchPlacement& held, const TorchPrograms& programs,
                                std::string_view strategy);

// The programs without hooks are realized once per task, in its cache. kInfeasible for quantized weights.
Result<std::shared_ptr<const TorchPrograms>> RealizePasses(const PlanningTask& task, const TorchPlacement& placement);

}  // namespace stowage

#include <algorithm>

#include "planner/realize/library_workspace.h"
#include "planner/strategy/torch/torch_programs.h"

namespace stowage {
namespace {

constexpr Bytes kRounding(512);

// Rounded bytes of storages alive at once in one pass: RecorderForm's peak_rounded without its events.
Bytes PeakOf(const TorchProgram& program, std::int64_t iteration) {
  const auto rounded = [&](StorageId id) {  // what stays is counted apart
    const TorchStorage& s = program.storages[id];
    const bool counts = s.place == TorchPlace::kDevice && s.role != TorchRole::kMoved;
    return counts ? RoundUp(s.bytes.at(iteration), kRounding) : Bytes(0);
  };
  Bytes live;
  for (const StorageId id : program.past) live += rounded(id);
  Bytes peak = live;
  for (const TorchEvent& event : program.events) {
    if (event.kind == TorchEventKind::kRelease) live -= rounded(event.storage);
    if (event.kind != TorchEventKind::kAllocate) continue;
    live += rounded(event.storage);
    peak = std::max(peak, live);
  }
  return peak;
}

}  // namespace

Result<Bytes> SmallestTorchBudget(const PlanningTask& task, const TorchPlacement& placement) {
  STOWAGE_TRY(const auto programs, RealizePasses(task, placement));
  Bytes peak = PeakOf(programs->prefill, 0);
  if (const std::int64_t passes = task.LoweredPasses(); passes > 0) {
    const bool early_only = programs->late.events.empty();
    const std::int64_t before = early_only ? 0 : programs->turn;
    peak = std::max(peak, PeakOf(programs->last(), Recomputes(task) ? 0 : passes - 1 - before));
    if (!early_only) peak = std::max(peak, PeakOf(programs->decode, before - 1));
  }
  STOWAGE_TRY(const TorchPlacement held, PlacementOn(programs->held, *task.model, placement));
  for (std::size_t i = 0; i < programs->held.tensors.size(); ++i) {
    const Tensor& t = programs->held.tensors[i];
    if (HasOwnStorage(t) && held.Stays(programs->held, static_cast<TensorId>(i))) peak += RoundUp(t.bytes(), kRounding);
  }
  const int capability = task.machine->gpus.empty() ? 0 : task.machine->gpus[0].compute_capability;
  return peak + CublasWorkspace(capability) + task.machine->Reserved("gpu0");
}

Bytes TorchFixedBytes(const PlanningTask& task, const RequestSizes& sizes) {
  const int capability = task.machine->gpus.empty() ? 0 : task.machine->gpus[0].compute_capability;
  return sizes.buffers + sizes.kv.value_or(Bytes(0)) + sizes.torch_activations.value_or(Bytes(0)) +
         CublasWorkspace(capability);
}

}  // namespace stowage

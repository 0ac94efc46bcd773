// layers:N[:cpu-moe|:n-cpu-moe:M]: llama.cpp's -ngl N. The output layer counts as one: the device computes the output
// layer and the last N - 1 of the others, the host's cores compute the rest, each beside its weights and its cache.
// Activations cross once a pass.
//   layers:0              everything on the host
//   layers:1              the output layer on the device
//   layers:all            everything on the device, like any N beyond the number of layers; a table of embeddings stays
//                         in host memory all the same, and is gathered from there
//   …:cpu-moe             the experts of all layers are computed by the host (--cpu-moe, -ot exps=CPU)
//   …:n-cpu-moe:M         those of the first M layers (--n-cpu-moe M)
// Runtime: native.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "planner/strategy/native/proposal.h"
#include "planner/strategy/strategy.h"

namespace stowage {

struct LayersParameters {
  std::int64_t on_device = 0;      // N
  std::int64_t expert_layers = 0;  // M: the first so many layers have their experts on the host
  friend bool operator==(const LayersParameters&, const LayersParameters&) = default;
};

// By kernel: which of the blocks it belongs to, in the order of their use; -1 before the first, the number of blocks
// after it where it belongs to none.
struct BlockOrder {
  std::vector<std::int32_t> of_kernel;
  std::int32_t blocks = 0;
};
BlockOrder BlocksOf(const NativeProgram& program, const Model& model);

// Residency follows from the kernels' sides: what the device reads is there, what the host reads is in host memory,
// caches are beside the kernels that touch them. A table that the device only gathers from stays in host memory.
void FollowKernels(const NativeModel& native, const Model& model, NativeProposal& proposal);

NativeProposal ProposeLayers(const NativeModel& native, const PlanningTask& task, const LayersParameters& parameters);

// That of a task's cache is only touched with its mutex held.
struct KnownLayers {
  struct Key {
    std::int64_t on_device, expert_layers;
    Bytes gpu_reserved, host_reserved;  // tasks with other machines may share a cache
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::map<Key, Result<Needs>> needs;
};

// What proposals of layers need, each worked out once, also for others with the same TaskCache: it depends on no budget.
class LayersNeeds {
 public:
  LayersNeeds(const NativeModel& native, const PlanningTask& task)
      : native_(native), task_(task) {}  // which outlive it

  const Result<Needs>& Of(const LayersParameters& parameters);

 private:
  const NativeModel& native_;
  const PlanningTask& task_;
  KnownLayers own_;
};

// The N (and M, for models with experts) that are worth looking at for the budgets of `machine`, and fit.
std::vector<LayersParameters> FittingLayers(const NativeModel& native, const PlanningTask& task, LayersNeeds& needs);

// The N (and M, for models with experts) that are worth simulating and fit, by the sum of the kernels' durations: best
// guess first.
std::vector<LayersParameters> LayersCandidates(const NativeModel& native, const PlanningTask& task);

// No request is quicker: the kernels' durations on their sides, which take turns. Crossings are left out.
Seconds LayersBound(const NativeModel& native, const PlanningTask& task, const LayersParameters& parameters);

std::string Spell(const LayersParameters& parameters);
Result<LayersParameters> ParseLayers(std::string_view text);

Strategy LayersStrategy();  // "layers"

}  // namespace stowage

#include "planner/strategy/registry.h"

#include <fmt/format.h>

#include "planner/base/text.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/device_map_ring.h"
#include "planner/strategy/native/layers.h"
#include "planner/strategy/native/pipeline.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/native/rings.h"
#include "planner/strategy/torch/device_map_strategy.h"
#include "planner/strategy/torch/group_offload.h"
#include "planner/strategy/torch/model_offload.h"
#include "planner/strategy/torch/sequential_offload.h"
#include "planner/strategy/torch/torch_resident.h"

namespace stowage {

std::vector<Strategy> AllStrategies() {
  return {ResidentStrategy(),          LayersStrategy(),       RingStrategy(),          DeviceMapRingStrategy(),
          PipelineStrategy(),          RingsStrategy(),        TorchResidentStrategy(), DeviceMapStrategy(),
          SequentialOffloadStrategy(), ModelOffloadStrategy(), GroupOffloadStrategy()};
}

std::vector<Strategy> StrategiesFor(const Machine& machine) {
  std::vector<Strategy> out = AllStrategies();
  std::erase_if(out, [&](const Strategy& s) { return s.gpus == GpuUse::kSeveral && machine.gpus.size() < 2; });
  return out;
}

Result<StrategyChoice> FindStrategy(const std::vector<Strategy>& all, std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  std::vector<std::string> known;
  for (const Strategy& s : all) {
    if (s.name == name)
      return StrategyChoice{&s, colon == std::string_view::npos ? "" : std::string(text.substr(colon + 1))};
    known.push_back(s.name);
  }
  return Error{ErrorCode::kInvalidInput, fmt::format("unknown strategy '{}'; there are {}", name, Join(known, ", "))};
}

Strategy WithParameters(const StrategyChoice& choice) {
  Strategy only = *choice.strategy;
  if (!choice.parameters.empty()) {
    only.candidates = [parameters = choice.parameters](const PlanningTask&) { return std::vector{parameters}; };
    only.closed_form = [of = choice.strategy->closed_form, parameters = choice.parameters](
                           const PlanningTask& task, std::string_view) { return of(task, parameters); };
  }
  return only;
}

}  // namespace stowage

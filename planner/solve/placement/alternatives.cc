#include "planner/solve/placement/alternatives.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/base/text.h"

namespace stowage {
namespace {

std::vector<std::int32_t> WithItsTie(const PlacementProblem& problem, std::int32_t unit) {
  for (const ChainTie& tie : problem.ties) {
    if (std::find(tie.units.begin(), tie.units.end(), unit) != tie.units.end()) return tie.units;
  }
  return {unit};
}

// The problem in which `units` can only be resident on `device`, or computed there if it is the CPU.
PlacementProblem Forced(PlacementProblem problem, const std::vector<std::int32_t>& units, std::int32_t device) {
  for (const std::int32_t u : units) {
    ChainUnit& unit = problem.units[u];
    for (std::size_t d = 0; d < problem.devices.size(); ++d) {
      if (static_cast<std::int32_t>(d) != device) unit.seconds[d] = kNeverSeconds;
      unit.host_stream[d] = unit.disk_stream[d] = kNeverSeconds;
    }
    if (device < static_cast<std::int32_t>(problem.devices.size())) unit.cpu_seconds = kNeverSeconds;
  }
  return problem;
}

std::string PlaceName(const PlacementProblem& problem, UnitPlacement at) {
  const auto cpu = static_cast<std::int32_t>(problem.devices.size());
  if (at.device == cpu) return "computed on the CPU";
  const std::string& name = problem.devices[at.device].name;
  switch (at.weights) {
    case KeptOn::kDevice:
      return fmt::format("resident on {}", name);
    case KeptOn::kHost:
      return fmt::format("streamed from host memory by {}", name);
    case KeptOn::kDisk:
      return fmt::format("streamed from the disk by {}", name);
  }
  return "";
}

}  // namespace

std::vector<Alternative> AlternativesOf(const PlacementProblem& problem, const ChainPlacement& placement,
                                        std::int32_t unit) {
  const std::vector<std::int32_t> moved = WithItsTie(problem, unit);
  const auto cpu = static_cast<std::int32_t>(problem.devices.size());
  std::vector<Alternative> out;
  for (std::int32_t d = 0; d <= cpu; ++d) {
    for (const KeptOn kept : {KeptOn::kDevice, KeptOn::kHost, KeptOn::kDisk}) {
      Alternative a{.to = {d, kept}};
      if (a.to == placement.units[unit] || (d == cpu && kept != KeptOn::kHost)) continue;
      std::vector<UnitPlacement> units = placement.units;
      for (const std::int32_t u : moved) units[u] = a.to;
      const Result<PlacementPrice> alone = PricePlacement(problem, units, placement.order);
      if (alone.ok()) {
        a.cost = alone->value - placement.value;
      } else {
        a.why_not = alone.error().message;
        if (d < cpu && kept == KeptOn::kDevice) {
          PlacementProblem forced = Forced(problem, moved, d);
          forced.node_cap = problem.node_cap / 20 + 1;
          const Result<ChainPlacement> best = SolvePlacement(forced);
          if (best.ok()) a.cost = best->value - placement.value;
          if (!best.ok()) a.why_not = best.error().message;
          a.others_move = best.ok();
        }
      }
      if (a.cost) a.why_not.clear();
      out.push_back(std::move(a));
    }
  }
  return out;
}

std::string Sentence(const PlacementProblem& problem, const Alternative& a) {
  const std::string place = PlaceName(problem, a.to);
  if (!a.cost) return fmt::format("{}: {}", place, a.why_not);
  const double cost = std::abs(*a.cost);
  const bool memory = problem.objective == PlacementObjective::kMemory;
  std::string text = memory ? FormatBytes(Bytes(static_cast<std::int64_t>(cost))) + (*a.cost < 0 ? " less" : " more")
                            : FormatSeconds(Seconds(cost)) + (*a.cost < 0 ? " faster" : " slower");
  if (cost < (memory ? 1 : 1e-9)) text = "as good";
  return fmt::format("{}: {}{}", place, text, a.others_move ? ", other units move with it" : "");
}

}  // namespace stowage

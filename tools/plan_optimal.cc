#include "tools/plan_optimal.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planner/base/text.h"
#include "planner/families/families.h"

namespace stowage {
namespace {

std::string_view NameOf(PlacementObjective objective) {
  switch (objective) {
    case PlacementObjective::kLatency:
      return "latency";
    case PlacementObjective::kThroughput:
      return "throughput";
    case PlacementObjective::kMemory:
      return "memory";
  }
  return "";
}

std::string StrategyOf(const OptimalQuestion& question) {
  return question.runtime == ChainRuntime::kNative ? "device-map:optimal:native" : "device-map:optimal";
}

std::string Shown(const OptimalQuestion& question, double value) {
  if (question.objective == PlacementObjective::kMemory) return FormatBytes(Bytes(static_cast<std::int64_t>(value)));
  return FormatSeconds(Seconds(value));
}

std::string ValueSentence(const OptimalQuestion& question, const ChainPlacement& p) {
  const std::string value = Shown(question, p.value);
  const std::string proof = p.proven ? "and nothing is better: proven"
                                     : fmt::format("and nothing is better than {}: a gap of {} is open",
                                                   Shown(question, p.lower_bound), FormatPercent(p.Gap()));
  switch (question.objective) {
    case PlacementObjective::kLatency:
      return fmt::format("{} for the request, {}.", value, proof);
    case PlacementObjective::kThroughput:
      return fmt::format("The busiest device works {} for a request, {}.", value, proof);
    case PlacementObjective::kMemory:
      return fmt::format("The fullest device holds {}, {}.", value, proof);
  }
  return "";
}

struct DeviceLine {
  std::string name;
  Bytes budget;
  Bytes weights;   // that stay there
  Bytes used;      // with caches, activations, staging and context
  Bytes streamed;  // weights that visit it
};

// The GPUs, then host and disk. Tied weights count once.
std::vector<DeviceLine> LinesOf(const OptimalMap& best) {
  const PlacementProblem& problem = best.chain.problem;
  const std::size_t cpu = problem.devices.size();
  std::vector<DeviceLine> lines;
  for (std::size_t d = 0; d < cpu; ++d) {
    lines.push_back({problem.devices[d].name, problem.devices[d].budget, {}, best.price.device_bytes[d], {}});
  }
  lines.push_back({"host", problem.host_budget, {}, best.price.host_bytes, {}});
  lines.push_back({"disk", problem.disk_budget, {}, best.price.disk_bytes, {}});
  std::vector<Bytes> own(problem.units.size());
  for (std::size_t u = 0; u < own.size(); ++u) own[u] = problem.units[u].weights;
  for (const ChainTie& tie : problem.ties) {
    for (std::size_t i = 1; i < tie.units.size(); ++i) own[tie.units[i]] -= tie.shared;
  }
  for (std::size_t u = 0; u < own.size(); ++u) {
    const UnitPlacement& at = best.placement.units[u];
    const std::size_t line = at.weights == KeptOn::kDevice ? at.device : at.weights == KeptOn::kHost ? cpu : cpu + 1;
    lines[line].weights += own[u];
    if (at.weights != KeptOn::kDevice && static_cast<std::size_t>(at.device) < cpu) lines[at.device].streamed += own[u];
  }
  return lines;
}

// The GPU that accelerate runs offloaded modules on: the first that something is resident on; `none` if there is none.
std::int32_t MainDevice(const std::vector<UnitPlacement>& units, std::int32_t none) {
  std::int32_t main = none;
  for (const UnitPlacement& at : units) {
    if (at.weights == KeptOn::kDevice) main = std::min(main, at.device);
  }
  return main;
}

bool StreamsElsewhere(const std::vector<UnitPlacement>& units, std::int32_t main) {
  return std::any_of(units.begin(), units.end(),
                     [&](const UnitPlacement& at) { return at.weights != KeptOn::kDevice && at.device != main; });
}

// accelerate streams to gpu0 only if the map keeps something there: the smallest unit that fits.
void KeepSomethingOnTheFirst(OptimalMap& best) {
  const PlacementProblem& problem = best.chain.problem;
  std::vector<UnitPlacement>& units = best.placement.units;
  if (!StreamsElsewhere(units, MainDevice(units, static_cast<std::int32_t>(problem.devices.size())))) return;
  std::vector<std::size_t> order;
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (units[u].device == 0) order.push_back(u);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return problem.units[a].weights < problem.units[b].weights; });
  for (const std::size_t u : order) {
    const UnitPlacement before = units[u];
    units[u].weights = KeptOn::kDevice;
    const Result<PlacementPrice> price = PricePlacement(problem, units, best.placement.order);
    if (price.ok()) {
      best.price = *price;
      best.placement.value = price->value;
      best.placement.proven = price->value <= best.placement.lower_bound;
      best.kept_for_accelerate = problem.units[u].name;
      return;
    }
    units[u] = before;
  }
}

std::string ComputedOnCpu(const OptimalQuestion& question, const OptimalMap& best) {
  const auto cpu = static_cast<std::int32_t>(question.machine.gpus.size());
  std::vector<std::string> runs;
  const std::vector<UnitPlacement>& units = best.placement.units;
  const std::vector<ChainUnit>& names = best.chain.problem.units;
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (units[u].device != cpu) continue;
    std::size_t last = u;
    while (last + 1 < units.size() && units[last + 1].device == cpu) ++last;
    runs.push_back(last == u ? names[u].name : fmt::format("{} to {}", names[u].name, names[last].name));
    u = last;
  }
  return Join(runs, ", ");
}

// What a reader of the map must know to get this placement.
std::vector<std::string> NotesOf(const OptimalQuestion& question, const OptimalMap& best) {
  std::vector<std::string> notes;
  const auto cpu = static_cast<std::int32_t>(question.machine.gpus.size());
  const std::vector<UnitPlacement>& units = best.placement.units;
  const bool streams = std::any_of(units.begin(), units.end(), [&](const UnitPlacement& at) {
    return at.weights != KeptOn::kDevice && at.device != cpu;
  });
  if (streams) notes.emplace_back("What lies on cpu or disk is copied to a GPU for every pass.");
  if (std::string computed = ComputedOnCpu(question, best); !computed.empty()) {
    notes.push_back(fmt::format("The CPU computes {}.", computed));
  }
  if (!best.kept_for_accelerate.empty()) {
    notes.push_back(fmt::format("{} stays on gpu0, or accelerate would not use that GPU.", best.kept_for_accelerate));
  }
  if (const std::int32_t main = MainDevice(units, cpu); StreamsElsewhere(units, main)) {
    notes.push_back(
        main == cpu ? "Nothing stays on a GPU: accelerate would compute all of the map on the CPU."
                    : fmt::format("accelerate would run all that is on cpu or disk on gpu{} instead: this map is not "
                                  "for it.",
                                  main));
  }
  if (question.any_order) {
    std::vector<std::string> names;
    for (const std::int32_t d : best.placement.order) names.push_back(fmt::format("gpu{}", d));
    notes.push_back(fmt::format("The model runs through {}.", Join(names, ", ")));
  }
  notes.emplace_back("Counted: weights, KV cache, activations, logits, what streaming stages, CUDA context.");
  return notes;
}

}  // namespace

Result<OptimalMap> SolveOptimal(const OptimalQuestion& question) {
  const Model& model = question.model;
  const auto layer_cache = [&model](std::int64_t layer, std::int64_t positions) {
    if (layer >= model.shape.layers) return Bytes(0);
    return LayerCacheBytesPerPosition(model) * CachedPositions(model, layer, positions);
  };
  OptimalMap best;
  STOWAGE_TRY(best.chain, ChainOf(model, question.request, question.machine,
                                  {.layer_cache = layer_cache,
                                   .runtime = question.runtime,
                                   .objective = question.objective,
                                   .any_order = question.any_order}));
  STOWAGE_TRY(best.placement, SolvePlacement(best.chain.problem));
  STOWAGE_TRY(best.price, PricePlacement(best.chain.problem, best.placement.units, best.placement.order));
  if (question.runtime == ChainRuntime::kAccelerate) KeepSomethingOnTheFirst(best);
  best.map = accelerate::CleanDeviceMap(DeviceMapOf(best.chain, best.placement));
  return best;
}

std::string OptimalText(const OptimalQuestion& question, const OptimalMap& best) {
  std::vector<std::vector<std::string>> rows = {{"device", "given", "weights", "used", "streams"}};
  for (const DeviceLine& line : LinesOf(best)) {
    rows.push_back({line.name, FormatBytes(line.budget), FormatBytes(line.weights), FormatBytes(line.used),
                    FormatBytes(line.streamed)});
  }
  std::string out = fmt::format("{} of {}, best for {}\n\n{}\n", StrategyOf(question), question.model.name,
                                NameOf(question.objective), AlignTable(rows));
  out += "- " + ValueSentence(question, best.placement) + "\n";
  for (const std::string& note : NotesOf(question, best)) out += "- " + note + "\n";
  return out + "\n" + accelerate::WriteDeviceMap(best.map, accelerate::TreeOf(question.model));
}

std::string OptimalJson(const OptimalQuestion& question, const OptimalMap& best) {
  using nlohmann::ordered_json;
  ordered_json devices = ordered_json::array(), blocks = ordered_json::array(), order = ordered_json::array();
  for (const DeviceLine& line : LinesOf(best)) {
    devices.push_back({{"name", line.name},
                       {"budget_bytes", line.budget.value()},
                       {"used_bytes", line.used.value()},
                       {"weights_bytes", line.weights.value()},
                       {"streamed_bytes", line.streamed.value()}});
  }
  const PlacementProblem& problem = best.chain.problem;
  const auto name = [&](std::int32_t d) {
    return d < static_cast<std::int32_t>(problem.devices.size()) ? problem.devices[d].name : std::string("cpu");
  };
  for (std::size_t u = 0; u < problem.units.size(); ++u) {
    const UnitPlacement& at = best.placement.units[u];
    const char* kept = at.weights == KeptOn::kDevice ? "device" : at.weights == KeptOn::kHost ? "host" : "disk";
    blocks.push_back({{"name", problem.units[u].name}, {"device", name(at.device)}, {"kept", kept}});
  }
  for (const std::int32_t d : best.placement.order) order.push_back(name(d));
  const std::string map = accelerate::WriteDeviceMap(best.map, accelerate::TreeOf(question.model));
  const bool bytes = question.objective == PlacementObjective::kMemory;
  const ordered_json json = {{"model", question.model.name},
                             {"strategy", StrategyOf(question)},
                             {"objective", NameOf(question.objective)},
                             {"fits", true},
                             {"unit", bytes ? "bytes" : "seconds"},
                             {"value", best.placement.value},
                             {"lower_bound", best.placement.lower_bound},
                             {"gap", best.placement.Gap()},
                             {"proven", best.placement.proven},
                             {"order", std::move(order)},
                             {"devices", std::move(devices)},
                             {"blocks", std::move(blocks)},
                             {"notes", NotesOf(question, best)},
                             {"device_map", ordered_json::parse(map, nullptr, /*allow_exceptions=*/false)}};
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage

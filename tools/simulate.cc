// simulate: what one strategy does on a machine, when, and with how much memory.
#include <optional>

#include "planner/formats/file.h"
#include "planner/strategy/registry.h"
#include "reports/timeline_json.h"
#include "reports/timeline_text.h"
#include "sim/engine/engine.h"
#include "sim/rank/rank.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/host.h"
#include "tools/common/options.h"
#include "tools/common/plan_file.h"
#include "tools/common/task.h"

namespace stowage {
namespace {

constexpr std::int64_t kLargestMap = 64 << 20;

struct SimulateOptions {
  std::optional<std::string> plan;
  TaskOptions task;
  std::string strategy;
  std::optional<std::string> device_map;
  bool json = false;
};

void AddOptions(CommandLine& line, SimulateOptions* o) {
  AddPlanArgument(line, &o->plan);
  AddTaskOptions(line, &o->task);
  AddStrategyOption(line, &o->strategy);
  line.Option("--device-map", &o->device_map, "instead of --strategy: a device map of yours, accelerate's JSON");
  PlanReplacesTask(line);
  AddJsonOption(line, &o->json);
  line.Example("simulate --model llama-8b --gpu t4 --cpu 30GB --strategy ring --prompt 512 --new 128",
               "a ring on a T4");
  line.Example("simulate plan.json", "what `plan --out plan.json` chose");
}

Result<LoadedPlan> Prepare(const SimulateOptions& o) {
  if (o.plan) return LoadPlan(*o.plan, o.task.model);
  STOWAGE_TRY(LoadedTask loaded, Load(o.task));
  if (o.strategy.empty() == !o.device_map.has_value()) {
    return Error{ErrorCode::kInvalidInput, "give either --strategy or --device-map; see simulate --help"};
  }
  std::string strategy = o.strategy;
  if (o.device_map) {
    STOWAGE_TRY(const std::string map, ReadTextFile(*o.device_map, kLargestMap));
    strategy = "device-map:" + map;
  }
  const std::vector<Strategy> strategies = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(strategies, strategy));
  STOWAGE_TRY(Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  return LoadedPlan{std::move(loaded), std::move(lowered)};
}

Result<int> SimulateTool(int argc, char** argv) {
  CommandLine line("simulate", "predicts peak memory, time and idle time of one strategy, step by step");
  SimulateOptions o;
  AddOptions(line, &o);
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;

  STOWAGE_TRY(const LoadedPlan loaded, Prepare(o));
  STOWAGE_RETURN_IF_ERROR(CheckLowered(loaded.lowered));
  STOWAGE_TRY(const Timeline timeline, Simulate(loaded.lowered.schedule, loaded.task.machine));
  STOWAGE_RETURN_IF_ERROR(Print(
      o.json ? TimelineJson(timeline) : TimelineText(timeline, loaded.task.request, {.colour = StdoutShowsColours()})));
  return timeline.out_of_memory ? 1 : 0;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("simulate", [&] { return stowage::SimulateTool(argc, argv); });
}

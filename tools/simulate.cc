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
#include "tools/common/task.h"

namespace stowage {
namespace {

constexpr std::int64_t kLargestMap = 64 << 20;

Result<int> SimulateTool(int argc, char** argv) {
  CommandLine line("simulate", "predicts peak memory, time and idle time of one strategy, step by step");
  TaskOptions options;
  AddTaskOptions(line, &options);
  std::string strategy;
  AddStrategyOption(line, &strategy);
  std::optional<std::string> device_map;
  line.Option("--device-map", &device_map, "instead of --strategy: a device map of yours, accelerate's JSON");
  bool json = false;
  AddJsonOption(line, &json);
  line.Example("simulate --model llama-8b --gpu t4 --cpu 30GB --strategy ring --prompt 512 --new 128",
               "a ring on a T4");
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;

  STOWAGE_TRY(const LoadedTask loaded, Load(options));
  if (strategy.empty() == !device_map.has_value()) {
    return Error{ErrorCode::kInvalidInput, "give either --strategy or --device-map; see simulate --help"};
  }
  if (device_map) {
    STOWAGE_TRY(const std::string map, ReadTextFile(*device_map, kLargestMap));
    strategy = "device-map:" + map;
  }
  const std::vector<Strategy> strategies = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(strategies, strategy));
  STOWAGE_TRY(const Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  STOWAGE_TRY(const Timeline timeline, Simulate(lowered.schedule, loaded.machine));
  STOWAGE_RETURN_IF_ERROR(
      Print(json ? TimelineJson(timeline) : TimelineText(timeline, loaded.request, {.colour = StdoutShowsColours()})));
  return timeline.out_of_memory ? 1 : 0;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("simulate", [&] { return stowage::SimulateTool(argc, argv); });
}

// simulate: what strategies do on a machine, when, and with how much memory.
#include <algorithm>
#include <optional>

#include "planner/strategy/registry.h"
#include "reports/compare_report.h"
#include "reports/html_page.h"
#include "reports/simulation_json.h"
#include "reports/simulation_text.h"
#include "reports/sweep_report.h"
#include "reports/trace_json.h"
#include "sim/rank/rank.h"
#include "tools/common/command_line.h"
#include "tools/common/device_map_file.h"
#include "tools/common/exit.h"
#include "tools/common/host.h"
#include "tools/common/options.h"
#include "tools/common/plan_file.h"
#include "tools/common/task.h"
#include "tools/common/write_file.h"
#include "tools/simulate_report.h"
#include "tools/simulate_sweep.h"

namespace stowage {
namespace {

struct SimulateOptions {
  std::optional<std::string> plan;
  TaskOptions task;
  std::string strategy;
  std::optional<std::string> device_map;
  std::vector<std::string> compare;
  std::optional<Sweep> sweep;
  std::optional<std::string> trace, html;
  bool json = false;
};

void AddOptions(CommandLine& line, SimulateOptions* o) {
  AddPlanArgument(line, &o->plan);
  AddTaskOptions(line, &o->task);
  AddStrategyOption(line, &o->strategy);
  line.Option("--device-map", &o->device_map, "instead of --strategy: a device map of yours, accelerate's JSON");
  line.List("--compare", &o->compare, "instead of --strategy: these side by side");
  line.Option(
      "--sweep",
      [o](const std::string& text) -> Status {
        STOWAGE_TRY(o->sweep, ParseSweep(text));
        return OkStatus();
      },
      "budgets gpu=FROM:TO:STEP or cpu=…: which strategies (all, or those of --compare) nothing beats");
  PlanReplacesTask(line);
  line.Replaces("PLAN", {"--device-map", "--compare", "--sweep"});
  line.Option("--trace", &o->trace, "write a trace for Perfetto or chrome://tracing to this file");
  line.Option("--html", &o->html, "write a page with curves, lanes and all strategies to this file");
  AddJsonOption(line, &o->json);
  line.Example("simulate --model llama-8b --gpu t4 --cpu 30GB --strategy ring --prompt 512 --new 128",
               "a ring on a T4");
  line.Example("simulate plan.json", "what `plan --out plan.json` chose");
  line.Example("simulate plan.json --trace trace.json --html report.html", "to look at");
  line.Example("simulate --model llama-8b --gpu t4 --compare ring sequential-offload device-map:auto", "side by side");
  line.Example("simulate --model llama-8b --gpu t4 --sweep gpu=4GB:24GB:1GB", "what more memory buys");
}

// The one strategy to simulate.
Result<LoadedPlan> Prepare(const SimulateOptions& o) {
  if (o.plan) return LoadPlan(*o.plan, o.task.model);
  STOWAGE_TRY(LoadedTask loaded, Load(o.task));
  if (o.strategy.empty() == !o.device_map.has_value()) {
    return Error{ErrorCode::kInvalidInput,
                 "give one of --strategy, --device-map, --compare and --sweep; see simulate --help"};
  }
  std::string strategy = o.strategy;
  if (o.device_map) {
    STOWAGE_TRY(const std::string map, ReadDeviceMapFile(*o.device_map));
    strategy = "device-map:" + map;
  }
  const std::vector<Strategy> strategies = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(strategies, strategy));
  STOWAGE_TRY(Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  return LoadedPlan{std::move(loaded), std::move(lowered)};
}

PlotOptions PlotForStdout() {
  const std::optional<std::size_t> width = StdoutWidth();
  PlotOptions plot{.unicode = width.has_value(), .colour = StdoutShowsColours()};
  if (width) plot.width = *width;
  return plot;
}

Result<int> ShowOne(const SimulateOptions& o) {
  STOWAGE_TRY(LoadedPlan loaded, Prepare(o));
  STOWAGE_RETURN_IF_ERROR(CheckLowered(loaded.lowered));
  STOWAGE_TRY(const SimulationReport report,
              SimulateReport(loaded.task, std::move(loaded.lowered), {.all_strategies = o.html.has_value()}));
  if (o.trace) STOWAGE_RETURN_IF_ERROR(WriteFile(*o.trace, TraceJson(report.schedule, report.timeline)));
  if (o.html) STOWAGE_RETURN_IF_ERROR(WriteFile(*o.html, HtmlPage(report)));
  STOWAGE_RETURN_IF_ERROR(Print(o.json ? SimulationJson(report) : SimulationText(report, PlotForStdout())));
  return report.timeline.out_of_memory ? 1 : 0;
}

Result<int> ShowComparison(const SimulateOptions& o) {
  STOWAGE_TRY(const LoadedTask loaded, Load(o.task));
  STOWAGE_TRY(const CompareReport report, CompareStrategies(loaded, o.compare));
  STOWAGE_RETURN_IF_ERROR(Print(o.json ? CompareJson(report) : CompareText(report, StdoutShowsColours())));
  const bool runs = std::any_of(report.strategies.begin(), report.strategies.end(),
                                [](const ComparedStrategy& s) { return s.Runs(); });
  return runs ? 0 : 1;
}

// The strategies that `names` are, with the parameters given there; all without names.
Result<std::vector<Strategy>> Chosen(const std::vector<std::string>& names, const Machine& machine) {
  if (names.empty()) return StrategiesFor(machine);
  const std::vector<Strategy> all = AllStrategies();
  std::vector<Strategy> out;
  for (const std::string& name : names) {
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, name));
    out.push_back(WithParameters(choice));
  }
  return out;
}

Result<int> ShowSweep(const SimulateOptions& o) {
  STOWAGE_TRY(const LoadedTask loaded, Load(o.task));
  std::vector<std::string> names = o.compare;
  if (!o.strategy.empty()) names = {o.strategy};
  STOWAGE_TRY(const std::vector<Strategy> strategies, Chosen(names, loaded.machine));
  const SweepReport report = RunSweep(loaded, strategies, *o.sweep);
  STOWAGE_RETURN_IF_ERROR(Print(o.json ? SweepJson(report) : SweepText(report, PlotForStdout())));
  return report.points.empty() ? 1 : 0;
}

Status CheckOptions(const SimulateOptions& o) {
  const bool single = !o.strategy.empty() || o.device_map.has_value();
  if (!o.compare.empty() && single) {
    return Error{ErrorCode::kInvalidInput, "--compare names the strategies: leave out --strategy and --device-map"};
  }
  if ((o.trace || o.html) && (o.sweep || !o.compare.empty())) {
    return Error{ErrorCode::kInvalidInput, "--trace and --html show one strategy, not --compare or --sweep"};
  }
  if (o.sweep && o.device_map) {
    return Error{ErrorCode::kInvalidInput, "--device-map: a map is for one budget, --sweep is for many"};
  }
  return OkStatus();
}

Result<int> SimulateTool(int argc, char** argv) {
  CommandLine line("simulate", "predicts peak memory, time and idle time of one strategy, step by step, or of several");
  SimulateOptions o;
  AddOptions(line, &o);
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;
  STOWAGE_RETURN_IF_ERROR(CheckOptions(o));
  if (o.sweep) return ShowSweep(o);
  return o.compare.empty() ? ShowOne(o) : ShowComparison(o);
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("simulate", [&] { return stowage::SimulateTool(argc, argv); });
}

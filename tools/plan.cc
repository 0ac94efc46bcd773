// plan: where everything of a model goes on a machine, by which strategy, and how fast that is.
#include <malloc.h>

#include <algorithm>
#include <optional>

#include "planner/families/families.h"
#include "planner/plan/plan_json.h"
#include "planner/strategy/registry.h"
#include "planner/zoo/zoo.h"
#include "reports/plan_json.h"
#include "reports/plan_text.h"
#include "sim/rank/rank.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/host.h"
#include "tools/common/options.h"
#include "tools/common/plan_file.h"
#include "tools/common/task.h"
#include "tools/common/threads.h"
#include "tools/common/write_file.h"
#include "tools/plan_device_map.h"
#include "tools/plan_quick.h"
#include "tools/plan_report.h"

namespace stowage {
namespace {

// `plan`: the chosen one as JSON, or empty.
Status PrintReport(const PlanReport& report, const std::string& plan, bool json) {
  if (!json) return Print(PlanText(report, StdoutShowsColours()));
  STOWAGE_TRY(const std::string text, PlanJson(report, plan));
  return Print(text);
}

Result<int> PrintQuick(const PlanningTask& task, const std::vector<Strategy>& strategies,
                       const std::optional<std::string>& unknown, bool json) {
  const PlanReport report =
      QuickReportOf(task, strategies, unknown ? PlanBasis::kSizesOnly : PlanBasis::kClosedForms, unknown.value_or(""));
  STOWAGE_RETURN_IF_ERROR(PrintReport(report, "", json));
  const bool fits = std::any_of(report.strategies.begin(), report.strategies.end(),
                                [](const StrategyLine& line) { return line.fits; });
  return fits ? 0 : 1;
}

// Prints what was found and keeps the chosen plan; 1 when nothing fits.
Result<int> Show(const LoadedTask& loaded, const std::vector<Ranked>& ranked, const std::string& model,
                 const std::optional<std::string>& out, bool json) {
  const PlanReport report = ReportOf(loaded.task(), ranked);
  const bool fits = !ranked.empty() && ranked[0].fits;
  if (fits) STOWAGE_RETURN_IF_ERROR(CheckPlan(*ranked[0].plan));
  const std::string plan = fits && (json || out) ? WritePlanJson(MakePlanFile(*ranked[0].plan, loaded, model)) : "";
  if (fits && out) STOWAGE_RETURN_IF_ERROR(WriteFile(*out, plan));
  STOWAGE_RETURN_IF_ERROR(PrintReport(report, plan, json));
  return fits ? 0 : 1;
}

// The plan of the strategy that follows a device map, on the machine of --gpu.
Status WriteMapPlan(const TaskOptions& options, const DeviceMapAnswer& answer, const std::string& out) {
  if (answer.strategy.empty()) return Error{ErrorCode::kInvalidInput, "--out: --emit max-memory makes no map"};
  if (options.machine.gpus.empty() && !options.machine.profile_path) {
    return Error{ErrorCode::kInvalidInput, "--out: a plan is made for a machine; --gpu is missing"};
  }
  STOWAGE_TRY(const LoadedTask loaded, Load(options));
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, answer.strategy));
  STOWAGE_TRY(Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  STOWAGE_RETURN_IF_ERROR(CheckPlan(lowered.plan));
  return WriteFile(out, WritePlanJson(MakePlanFile(std::move(lowered.plan), loaded, options.model)));
}

Result<int> PlanTool(int argc, char** argv) {
  CommandLine line("plan",
                   "says where a model's weights, caches and buffers go, by which strategy, and how fast it runs");
  TaskOptions options;
  AddTaskOptions(line, &options, /*gpu_required=*/false);
  std::optional<std::string> strategy;
  line.Option("--strategy", &strategy, "only this one: NAME[:PARAMETERS], such as resident or ring:256MiB");
  DeviceMapOptions device_map;
  AddDeviceMapOptions(line, &device_map);
  bool json = false;
  AddJsonOption(line, &json);
  bool quick = false;
  line.Flag("--quick", &quick, "closed forms only: what fits, and about how fast; nothing is simulated");
  std::optional<std::string> out;
  line.Option("--out", &out, "write the chosen plan to this file");
  line.Example("plan --gpu 15GB --model llama-8b", "a card of 15 GB");
  line.Example("plan --gpu t4 --cpu 30GB --model DIR --json", "a folder with config.json, as JSON");
  line.Example("plan --gpu 15GB --model llama-8b --out plan.json", "kept for simulate, execute and inspect");
  line.Example("plan --gpu 15GB --model DIR --quick", "in milliseconds, without simulating");
  line.Example("plan --gpu 24GiB,10GiB --model DIR --strategy device-map:auto", "accelerate's own placement");
  line.Example("plan --gpu 15GB --model DIR --strategy device-map:auto --out plan.json",
               "that placement, for simulate");
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;
  STOWAGE_TRY(const bool wants_device_map, WantsDeviceMap(strategy, device_map));
  if (wants_device_map) {
    STOWAGE_TRY(const DeviceMapAnswer answer, PlanDeviceMap(options, strategy, device_map, json));
    if (out) STOWAGE_RETURN_IF_ERROR(WriteMapPlan(options, answer, *out));
    STOWAGE_RETURN_IF_ERROR(Print(answer.text));
    return answer.exit_code;
  }
  if (options.machine.gpus.empty() && !options.machine.profile_path) {
    return Error{ErrorCode::kInvalidInput, "--gpu is missing; see plan --help"};
  }

  STOWAGE_TRY(const LoadedTask loaded, Load(options, /*any_weights=*/true));
  std::vector<Strategy> strategies = StrategiesFor(loaded.machine);
  if (strategy) {
    const std::vector<Strategy> all = AllStrategies();
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, *strategy));
    strategies = {WithParameters(choice)};
  }
  const std::optional<std::string> unknown = OperationsUnknown(loaded.task());
  if (quick || unknown) {
    if (out) return Error{ErrorCode::kInvalidInput, "--out: " + unknown.value_or("--quick makes no plan")};
    return PrintQuick(loaded.task(), strategies, unknown, json);
  }
  const std::vector<Ranked> ranked =
      Rank(strategies, loaded.task(), OnAllCores, json ? Intervals::kOfAll : Intervals::kOfTheBest);
  if (strategy && !ranked[0].fits && ranked[0].refused) return Error{ErrorCode::kInvalidInput, ranked[0].why_not};
  return Show(loaded, ranked, options.model, out, json);
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  // Candidates are lowered and dropped one after the other: giving their memory back to the system in between costs a
  // quarter of the run in page faults.
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  return stowage::RunTool("plan", [&] { return stowage::PlanTool(argc, argv); });
}

// The subcommands of `inspect` that take plan files: dump, explain, diff.
#include <optional>
#include <string>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/options.h"
#include "tools/common/plan_file.h"
#include "tools/diff_report.h"
#include "tools/dump_report.h"
#include "tools/explain_report.h"
#include "tools/inspect_commands.h"

namespace stowage {

Result<int> InspectDump(int argc, char** argv) {
  std::string path, model;
  DumpSelection selection;
  bool plan = false, json = false;
  CommandLine line("inspect dump", "the schedule that a plan file stands for, step by step");
  line.Positional("PLAN", &path, "what `plan --out` wrote");
  line.Require("PLAN");
  line.Option("--model", &model, "where the model is now, if not where the plan file says");
  line.Option("--phase", &selection.phase, "only this one: load, prefill or decode");
  line.Option(
      "--steps",
      [&](const std::string& text) -> Status {
        STOWAGE_TRY(selection.steps, ParseStepRange(text));
        return OkStatus();
      },
      "only steps FIRST to END, counted from 0, without END itself: 10:20");
  line.Flag("--plan", &plan, "where everything is instead of what is done; needs no model");
  AddJsonOption(line, &json);
  line.Example("inspect dump plan.json --phase decode", "what is done for a token");
  line.Example("inspect dump plan.json --plan", "arenas, tensors, buffers");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  if (plan) {
    STOWAGE_TRY(const PlanFile file, ReadPlanFile(path));
    STOWAGE_RETURN_IF_ERROR(Print(json ? WritePlanJson(file) : Dump(file.plan)));
    return 0;
  }
  STOWAGE_TRY(const LoadedPlan loaded, LoadPlan(path, model));
  const Schedule& schedule = loaded.lowered.schedule;
  STOWAGE_TRY(const std::string text, json ? ScheduleJson(schedule, selection) : ScheduleText(schedule, selection));
  STOWAGE_RETURN_IF_ERROR(Print(text));
  return 0;
}

Result<int> InspectExplain(int argc, char** argv) {
  std::string path, what;
  bool json = false;
  CommandLine line("inspect explain", "why a block or tensor is where a plan puts it, and what elsewhere would take");
  line.Positional("PLAN", &path, "what `plan --out` wrote");
  line.Positional("NAME", &what, "a no-split block, a tensor, or a module: model.layers.7");
  line.Require("PLAN");
  line.Require("NAME");
  AddJsonOption(line, &json);
  line.Example("inspect explain plan.json model.layers.7", "a block");
  line.Example("inspect explain plan.json lm_head.weight", "a tensor");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const PlanFile file, ReadPlanFile(path));
  STOWAGE_TRY(const ExplainReport report, Explain(file, what));
  STOWAGE_RETURN_IF_ERROR(Print(json ? ExplainJson(report) : ExplainText(report)));
  return 0;
}

Result<int> InspectDiff(int argc, char** argv) {
  std::string before, after;
  bool json = false;
  CommandLine line("inspect diff",
                   "what moved, grew, appeared or disappeared between two plans; exit code 1 if anything");
  line.Positional("BEFORE", &before, "what `plan --out` wrote");
  line.Positional("AFTER", &after, "another");
  line.Require("BEFORE");
  line.Require("AFTER");
  AddJsonOption(line, &json);
  line.Example("inspect diff old.json new.json", "two plans of one model");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const PlanFile first, ReadPlanFile(before));
  STOWAGE_TRY(const PlanFile second, ReadPlanFile(after));
  const PlanDiff diff = DiffPlans(first.plan, second.plan);
  STOWAGE_RETURN_IF_ERROR(Print(json ? DiffJson(diff) : DiffText(diff)));
  return diff.Same() ? 0 : 1;
}

}  // namespace stowage

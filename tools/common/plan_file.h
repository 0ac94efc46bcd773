// Plan files: what `plan --out` writes and simulate, execute and inspect take instead of a model, a machine, a request
// and a strategy.
#pragma once

#include <optional>
#include <string>

#include "planner/base/result.h"
#include "planner/plan/plan_json.h"
#include "tools/common/task.h"

namespace stowage {

// `plan` of `task`, whose model was loaded as --model `model`. A path is kept absolute, so that it is found from another
// folder.
PlanFile MakePlanFile(Plan plan, const LoadedTask& task, const std::string& model);

// Read and checked: CheckPlan. Nothing of the model is read.
Result<PlanFile> ReadPlanFile(const std::string& path);

// A plan file with the model it was made for, lowered to its schedule again.
struct LoadedPlan {
  LoadedTask task;
  Lowered lowered;  // its plan is that of the file
};

// `model`: where the model is now; "" for where the file says. kInvalidInput names what changed when it is not the
// model the plan was made for, and the first difference when the strategy does not make this plan of it any more.
Result<LoadedPlan> LoadPlan(const std::string& path, const std::string& model);

// What is shown or executed has passed CheckPlan and CheckSchedule. kInternal: a strategy wrote what it must not.
Status CheckLowered(const Lowered& lowered);

// The optional argument PLAN, and what it makes superfluous: --model says where the model is now, machine, request and
// strategy are in the file. Call the second after all options of the task are there, --strategy included.
void AddPlanArgument(CommandLine& line, std::optional<std::string>* plan);
void PlanReplacesTask(CommandLine& line);

}  // namespace stowage

#include "tools/common/plan_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "planner/base/text.h"
#include "planner/formats/file.h"
#include "planner/plan/diff.h"
#include "planner/schedule/check.h"
#include "planner/strategy/registry.h"
#include "sim/rank/rank.h"
#include "tools/diff_report.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostFileBytes = std::int64_t{1} << 30;

std::string SourceOf(const std::string& model) {
  std::error_code error;
  if (!std::filesystem::exists(model, error)) return model;
  const std::filesystem::path path = std::filesystem::absolute(model, error).lexically_normal();
  return error ? model : path.string();
}

Status CheckUnchanged(const PlanFile& file, const Model& model) {
  const std::vector<std::string> changes = Changes(file.model, FingerprintOf(model, file.model.source));
  if (changes.empty()) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{} is not the model the plan was made for: {}", file.model.source, Join(changes, "; "))};
}

Result<Lowered> LowerAgain(const PlanFile& file, const LoadedTask& task) {
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, file.plan.strategy));
  STOWAGE_TRY(Lowered lowered, LowerBest(*choice.strategy, task.task(), choice.parameters));
  const PlanDiff diff = DiffPlans(file.plan, lowered.plan);
  if (diff.Same()) return lowered;
  return Error{
      ErrorCode::kInvalidInput,
      fmt::format("{} does not make this plan: {}. It was changed by hand, or made by another version; plan again",
                  file.plan.strategy, FirstDifference(diff))};
}

}  // namespace

PlanFile MakePlanFile(Plan plan, const LoadedTask& task, const std::string& model) {
  return {.plan = std::move(plan), .model = FingerprintOf(task.model, SourceOf(model)), .machine = task.machine};
}

Result<PlanFile> ReadPlanFile(const std::string& path) {
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kMostFileBytes));
  STOWAGE_TRY(PlanFile file, ReadPlanJson(path, text));
  Status status = CheckPlan(file.plan);
  if (!status) return std::move(status).error().In(path);
  return file;
}

Result<LoadedPlan> LoadPlan(const std::string& path, const std::string& model) {
  STOWAGE_TRY(PlanFile file, ReadPlanFile(path));
  if (!model.empty()) file.model.source = model;
  Result<LoadedTask> task = LoadOn(file.machine, file.model.source, file.plan.request);
  if (!task) return std::move(task).error().In(path);
  Status status = CheckUnchanged(file, task->model);
  if (!status) return std::move(status).error().In(path);
  Result<Lowered> lowered = LowerAgain(file, *task);
  if (!lowered) return std::move(lowered).error().In(path);
  return LoadedPlan{*std::move(task), *std::move(lowered)};
}

Status CheckLowered(const Lowered& lowered) {
  Status status = CheckPlan(lowered.plan);
  if (status) status = CheckSchedule(lowered.schedule);
  if (status) return status;
  return Error{ErrorCode::kInternal,
               fmt::format("{} of {}: {}", lowered.plan.strategy, lowered.plan.model, status.error().message)};
}

void AddPlanArgument(CommandLine& line, std::optional<std::string>* plan) {
  line.Positional("PLAN", plan, "a plan file (plan --out) instead of --model, --gpu, --strategy and the like");
}

void PlanReplacesTask(CommandLine& line) {
  line.Replaces("PLAN",
                {"--gpu", "--cpu", "--disk", "--disk-path", "--alloc-conf", "--machine", "--dtype", "--kv", "--batch",
                 "--prompt", "--new", "--load", "--load-dtype", "--page-cache", "--strategy"},
                {"--model"});
}

}  // namespace stowage

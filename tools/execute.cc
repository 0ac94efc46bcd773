// execute: runs a strategy's schedule on devices and puts the prediction beside the measurement.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "exec/devices.h"
#include "exec/generate/generate.h"
#include "exec/kernel_args.h"
#include "planner/cost/step_cost.h"
#include "planner/strategy/registry.h"
#include "reports/comparison.h"
#include "reports/timeline_json.h"
#include "sim/engine/engine.h"
#include "sim/rank/rank.h"
#include "tools/common/command_line.h"
#include "tools/common/device_map_file.h"
#include "tools/common/exit.h"
#include "tools/common/host.h"
#include "tools/common/options.h"
#include "tools/common/plan_file.h"
#include "tools/common/task.h"
#include "tools/execute_output.h"
#include "tools/execute_profile.h"

namespace stowage {
namespace {

struct ExecuteOptionsOfUser {
  std::optional<std::string> plan;
  TaskOptions task;
  std::string strategy;
  std::optional<std::string> device_map;
  std::optional<std::string> tokens;
  std::string devices = "auto";
  std::optional<std::string> logits;
  bool pace = false;
  bool json = false;
};

void AddOptions(CommandLine& line, ExecuteOptionsOfUser* o) {
  AddPlanArgument(line, &o->plan);
  AddTaskOptions(line, &o->task);
  AddStrategyOption(line, &o->strategy, "native");
  line.Option("--device-map", &o->device_map,
              "instead of --strategy: a device map of yours, accelerate's JSON; the ring streams what it offloads");
  PlanReplacesTask(line);
  line.Option("--tokens", &o->tokens, "the prompt's token ids: 1,2,3; without them, --prompt ids are made up");
  line.Option("--devices", &o->devices, "cuda, host, or auto: CUDA where there is a device");
  line.Option("--logits", &o->logits,
              "write the prompt's logits, fp32 [batch, tokens, vocab], to this safetensors file");
  line.Flag("--pace", &o->pace, "host devices: every step lasts at least as long as the machine's model says");
  AddJsonOption(line, &o->json);
  line.Example("execute --model DIR --gpu 20MB --strategy ring --tokens 1,2,3 --new 8", "host devices with 20 MB");
  line.Example("execute --model DIR --gpu 15GB --devices cuda --tokens 1,2,3 --new 64 --json", "a real card");
  line.Example("execute plan.json --tokens 1,2,3", "what `plan --out plan.json` chose, for a prompt of three");
}

Result<DeviceKind> KindOf(const std::string& text) {
  if (text == "auto") return DeviceKind::kAuto;
  if (text == "cuda") return DeviceKind::kCuda;
  if (text == "host") return DeviceKind::kHost;
  return Error{ErrorCode::kInvalidInput, fmt::format("--devices {}: cuda, host or auto", text)};
}

// --tokens sets the length of the prompt; without it --prompt does.
Result<std::optional<std::vector<std::int64_t>>> GivenTokens(ExecuteOptionsOfUser& o) {
  o.task.request.all_logits = o.logits.has_value();
  std::optional<std::vector<std::int64_t>> ids;
  if (!o.tokens) return ids;
  STOWAGE_TRY(ids, ParseTokens(*o.tokens));
  o.task.request.prompt_tokens = static_cast<std::int64_t>(ids->size());
  return ids;
}

// Every sequence of a batch gets the same. Ids made up for --prompt are spread over the vocabulary, the same every time.
std::vector<std::vector<std::int64_t>> PromptOf(const LoadedTask& loaded,
                                                std::optional<std::vector<std::int64_t>> ids) {
  if (!ids) {
    ids.emplace();
    for (std::int64_t i = 0; i < loaded.request.prompt_tokens; ++i)
      ids->push_back((i * 7919 + 1) % loaded.model.shape.vocab);
  }
  return std::vector(static_cast<std::size_t>(loaded.request.batch), *ids);
}

// Before anything runs: every kernel must be one that devices have.
Status CheckExecutable(const Model& model, const Schedule& schedule) {
  const std::string& rope = model.rope.type;
  if (rope != "default" && rope != "linear" && rope != "llama3") {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: no device computes the rope table \"{}\" of family {} yet; plan and simulate do",
                             model.name, rope, model.family)};
  }
  for (const Kernel& k : schedule.kernels) {
    if (HasKernel(k.kind)) continue;
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: no device executes the kernel {} ('{}') of family {} yet; plan and simulate do",
                             model.name, Name(k.kind), k.name, model.family)};
  }
  return OkStatus();
}

// A plan file says how long the prompt is; it holds logits of one position.
Status CheckAgainstPlan(const ExecuteOptionsOfUser& o, const Request& planned, bool tokens_given) {
  if (o.logits && !planned.all_logits) {
    return Error{ErrorCode::kInvalidInput, fmt::format("--logits: {} is planned for the logits of the last position "
                                                       "only; give --model and --strategy instead",
                                                       *o.plan)};
  }
  const std::int64_t given = o.task.request.prompt_tokens;
  if (!tokens_given || given == planned.prompt_tokens) return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("--tokens has {} ids, and {} is planned for a prompt of {}", given,
                                                     *o.plan, planned.prompt_tokens)};
}

Result<std::string> StrategyOf(const ExecuteOptionsOfUser& o) {
  if (!o.device_map) return o.strategy.empty() ? "ring" : o.strategy;
  if (!o.strategy.empty()) return Error{ErrorCode::kInvalidInput, "give either --strategy or --device-map, not both"};
  STOWAGE_TRY(const std::string map, ReadDeviceMapFile(*o.device_map));
  return "device-map-ring:" + map;
}

Result<LoadedPlan> PrepareTask(const ExecuteOptionsOfUser& o) {
  STOWAGE_TRY(LoadedTask loaded, Load(o.task));
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(const std::string strategy, StrategyOf(o));
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, strategy));
  if (choice.strategy->runtime != "native") {
    return Error{ErrorCode::kInvalidInput, fmt::format("strategy {} belongs to the {} runtime, which is simulated only",
                                                       strategy, choice.strategy->runtime)};
  }
  STOWAGE_TRY(Lowered lowered, LowerBest(*choice.strategy, loaded.task(), choice.parameters));
  return LoadedPlan{std::move(loaded), std::move(lowered)};
}

Result<LoadedPlan> PreparePlan(const ExecuteOptionsOfUser& o, bool tokens_given) {
  STOWAGE_TRY(LoadedPlan loaded, LoadPlan(*o.plan, o.task.model));
  if (loaded.lowered.plan.runtime != "native") {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: strategy {} belongs to the {} runtime, which is simulated only", *o.plan,
                             loaded.lowered.plan.strategy, loaded.lowered.plan.runtime)};
  }
  STOWAGE_RETURN_IF_ERROR(CheckAgainstPlan(o, loaded.task.request, tokens_given));
  return loaded;
}

Result<LoadedPlan> Prepare(const ExecuteOptionsOfUser& o, bool tokens_given) {
  STOWAGE_TRY(LoadedPlan out, o.plan ? PreparePlan(o, tokens_given) : PrepareTask(o));
  if (!out.task.request.quantization.empty()) {
    return Error{
        ErrorCode::kInvalidInput,
        fmt::format("--dtype {}: quantized weights are planned and simulated, no kernel computes with them yet",
                    out.task.request.quantization)};
  }
  if (out.task.model.files.empty()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} has no weights here; give a folder with safetensors, or make one with fabricate",
                             o.task.model.empty() ? out.task.model.name : o.task.model)};
  }
  STOWAGE_RETURN_IF_ERROR(CheckExecutable(out.task.model, out.lowered.schedule));
  STOWAGE_RETURN_IF_ERROR(CheckLowered(out.lowered));
  return out;
}

Result<int> ExecuteTool(int argc, char** argv) {
  CommandLine line("execute", "runs a plan on CUDA or host devices and compares prediction with measurement");
  ExecuteOptionsOfUser o;
  AddOptions(line, &o);
  if (const std::optional<int> code = line.Parse(argc, argv)) return *code;
  STOWAGE_TRY(const DeviceKind kind, KindOf(o.devices));
  STOWAGE_TRY(auto ids, GivenTokens(o));
  STOWAGE_TRY(const LoadedPlan prepared, Prepare(o, ids.has_value()));
  const LoadedTask& loaded = prepared.task;
  const Lowered& lowered = prepared.lowered;
  STOWAGE_TRY(ChosenDevices devices, MakeDevices(lowered.schedule, kind));
  STOWAGE_TRY(const Machine profile, ExecutingMachine(loaded.machine, devices.cuda, o.pace, loaded.model.files[0]));
  ExecuteOptions options;
  options.spans = true;
  if (o.pace) options.pace = PaceOf(lowered.schedule, loaded.machine);
  STOWAGE_TRY(const Generated out, Generate(loaded.model, loaded.request, lowered.schedule, devices.set,
                                            PromptOf(loaded, std::move(ids)), options));
  STOWAGE_TRY(const Timeline predicted, Simulate(lowered.schedule, profile, {.record_spans = true}));
  if (o.logits) STOWAGE_RETURN_IF_ERROR(WriteLogits(*o.logits, out.logits, loaded.request, loaded.model.shape.vocab));
  if (o.json) {
    STOWAGE_RETURN_IF_ERROR(Print(ExecuteJson(FlatTokens(out.tokens), predicted, out.measured)));
    return 0;
  }
  std::string text = fmt::format("{} on {}\n{}\n", lowered.schedule.name, devices.description, TokensText(out.tokens));
  STOWAGE_RETURN_IF_ERROR(Print(text + ComparisonText(Compare(predicted, out.measured), StdoutShowsColours()) + "\n" +
                                StepErrorsText(lowered.schedule, predicted, out.measured)));
  return 0;
}

}  // namespace
}  // namespace stowage

int main(int argc, char** argv) {
  return stowage::RunTool("execute", [&] { return stowage::ExecuteTool(argc, argv); });
}

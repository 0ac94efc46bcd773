#include "tools/plan_device_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/quant/quantize.h"
#include "planner/realize/torch_model.h"
#include "planner/solve/accelerate/infer.h"
#include "planner/strategy/torch/device_map_strategy.h"
#include "sim/rank/rank.h"
#include "tools/common/device_map_file.h"
#include "tools/common/model_source.h"
#include "tools/device_map_report.h"
#include "tools/plan_optimal.h"

namespace stowage {
namespace {

using accelerate::BalancedMaxMemory;
using accelerate::DeviceKey;
using accelerate::DeviceKind;
using accelerate::DeviceMap;
using accelerate::Inferred;
using accelerate::MaxMemory;
using accelerate::Number;
using accelerate::PlacementTree;
using accelerate::Rules;
using accelerate::SizeOptions;

constexpr std::string_view kPrefix = "device-map:";
constexpr std::int64_t kLargestMap = 64 << 20;  // a million entries of long names
constexpr std::array<std::string_view, 4> kModes = {"auto", "balanced", "balanced_low_0", "sequential"};
constexpr std::string_view kOptimal = "optimal";

Error Bad(std::string message) { return Error{ErrorCode::kInvalidInput, std::move(message)}; }

Result<Rules> ReadRules(const DeviceMapOptions& options) {
  if (!options.rules || *options.rules == "accelerate") return Rules::kAccelerate;
  if (*options.rules != "transformers") {
    return Bad(fmt::format("--rules: '{}' is neither accelerate nor transformers", *options.rules));
  }
  if (options.fallback) return Bad("--fallback: transformers' rules have no fallback allocation");
  if (!options.special.empty()) {
    return Bad("--special-dtype: by transformers' rules a model has the dtypes it was built with");
  }
  return Rules::kTransformers;
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    if (comma > begin) parts.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return parts;
}

// transformers gives accelerate int8 or int4 for the whole model when it quantizes while loading (adjust_target_dtype).
Result<Number> BytesPerElementOf(const QuantScheme& scheme, Rules rules) {
  if (scheme.rule == QuantRule::kGgml || rules == Rules::kTransformers) {
    return Bad(
        fmt::format("--dtype {}: device maps of quantized models follow accelerate's rules, for the schemes of "
                    "transformers",
                    scheme.name));
  }
  return accelerate::BytesPerElement(IsPacked(scheme.dtype) ? "int4" : "int8");
}

Result<SizeOptions> ReadSizes(const TaskOptions& task, const DeviceMapOptions& options) {
  SizeOptions sizes;
  STOWAGE_TRY(sizes.rules, ReadRules(options));
  if (task.request.dtype && sizes.rules == Rules::kAccelerate) {
    STOWAGE_TRY(sizes.dtype, accelerate::BytesPerElement(TorchName(*task.request.dtype)));
  }
  if (const QuantScheme* scheme = FindScheme(task.request.quantization)) {
    STOWAGE_TRY(sizes.dtype, BytesPerElementOf(*scheme, sizes.rules));
  }
  for (const std::string& text : options.special) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return Bad(fmt::format("--special-dtype: '{}' is not NAME=DTYPE, such as lm_head.weight=float32", text));
    }
    Result<Number> bytes = accelerate::BytesPerElement(std::string_view(text).substr(equals + 1));
    if (!bytes) return std::move(bytes).error().In("--special-dtype");
    sizes.special.insert_or_assign(text.substr(0, equals), *bytes);
  }
  return sizes;
}

Result<MaxMemory> ReadBudgets(const TaskOptions& task, const DeviceMapOptions& options) {
  if (options.max_memory) {
    Result<MaxMemory> budgets = accelerate::ReadMaxMemory(*options.max_memory);
    if (!budgets) return std::move(budgets).error().In("--max-memory");
    return budgets;
  }
  if (task.machine.gpus.empty()) return Bad("--gpu or --max-memory is missing; see plan --help");
  STOWAGE_TRY(const Machine machine, MachineOf(task.machine));
  MaxMemory budgets;
  std::int64_t index = 0;
  for (const Pool& pool : machine.pools) {
    const Number bytes = Number::Int(pool.budget.value());
    if (pool.kind == PoolKind::kGpu) budgets.emplace_back(DeviceKey{DeviceKind::kAccelerator, index++}, bytes);
    if (pool.kind == PoolKind::kHost) budgets.emplace_back(DeviceKey{DeviceKind::kCpu, 0}, bytes);
  }
  return budgets;
}

std::string RulesName(Rules rules) { return rules == Rules::kAccelerate ? "accelerate 1.15" : "transformers 5.23"; }

struct Question {
  Model model;   // as accelerate counts it
  Model loaded;  // with --dtype: what the report counts
  PlacementTree tree;
  SizeOptions sizes;
  MaxMemory budgets;
};

// Maps name the modules of transformers 5, which here and there are not those of the files.
Model WithNamesOfMaps(Model model) {
  constexpr std::array<std::string_view, 3> kOther = {"gemma3", "clip_text_model", "vit"};
  if (std::find(kOther.begin(), kOther.end(), model.family) == kOther.end()) return model;
  Result<Model> held = AsTransformersHolds(model);
  return held ? *std::move(held) : std::move(model);
}

Result<Question> Ask(const TaskOptions& task, const DeviceMapOptions& options) {
  Question question;
  STOWAGE_TRY(question.sizes, ReadSizes(task, options));
  STOWAGE_TRY(Model stored, LoadNamedModel(task.model));
  question.model = WithNamesOfMaps(std::move(stored));
  question.loaded = question.model;
  // accelerate asks for bytes per element alone: its map is one of any tree, also where a scheme would quantize nothing.
  const bool map_alone = options.emit && question.sizes.rules == Rules::kAccelerate;
  if (!map_alone) STOWAGE_RETURN_IF_ERROR(ApplyFormat(question.loaded, task.request));
  // accelerate takes a dtype as an option, transformers builds the model in it.
  if (question.sizes.rules == Rules::kTransformers) question.model = question.loaded;
  KeepInFp32(question.loaded);  // which neither of them counts
  question.tree = accelerate::TreeOf(question.model);
  return question;
}

// Times of the map, where it is one that can be simulated.
void AddTimes(const TaskOptions& task, const DeviceMapOptions& options, const Question& question,
              DeviceMapReport& report) {
  report.no_times = "a map is simulated on one --gpu, without --max-memory";
  if (options.max_memory || task.machine.gpus.empty()) return;
  const Result<LoadedTask> loaded = Load(task);
  if (!loaded) {
    report.no_times = loaded.error().message;
    return;
  }
  Strategy strategy = DeviceMapStrategy();
  strategy.candidates = [map = WriteDeviceMap(report.map, question.tree)](const PlanningTask&) {
    return std::vector<std::string>{map};
  };
  const std::vector<Ranked> ranked = Rank({strategy}, loaded->task(), OneAfterTheOther, Intervals::kOfNone);
  if (!ranked[0].fits) {
    report.no_times = ranked[0].why_not;
    return;
  }
  report.first_token = ranked[0].first_token;
  report.per_token = ranked[0].per_token;
}

std::string StrategyOf(const DeviceMap& map, const PlacementTree& tree) {
  return std::string(kPrefix) + OnOneLine(WriteDeviceMap(map, tree));
}

DeviceMapAnswer Answer(const DeviceMapReport& report, const PlacementTree& tree, bool json) {
  return {.text = json ? DeviceMapJson(report, tree) : DeviceMapText(report, tree),
          .exit_code = report.fits() ? 0 : 1,
          .strategy = StrategyOf(report.map, tree)};
}

void AddNotes(const Inferred& inferred, DeviceMapReport& report) {
  for (const auto& [device, bytes] : inferred.skipped) {
    report.notes.push_back(
        fmt::format("Nothing could be put on {}: what came next needed {} bytes there, with room "
                    "for the largest layer where it is kept.",
                    Name(device), bytes.Text()));
  }
  if (inferred.homeless_buffers) {
    report.notes.push_back(
        fmt::format("{} bytes of buffers of offloaded modules stay on an accelerator, and none has "
                    "room for them; --offload-buffers moves them.",
                    inferred.homeless_buffers->Text()));
  }
  for (const std::string& sentence : inferred.ties_apart) report.notes.push_back(sentence + ".");
}

Result<DeviceMapAnswer> InferAndReport(const TaskOptions& task, const std::string& mode,
                                       const DeviceMapOptions& options, bool json) {
  STOWAGE_TRY(Question question, Ask(task, options));
  STOWAGE_TRY(question.budgets, ReadBudgets(task, options));
  const std::vector<std::string> no_split =
      options.no_split ? SplitAtCommas(*options.no_split) : question.model.no_split_classes;
  MaxMemory budgets = question.budgets;
  if (mode != "sequential") {
    STOWAGE_TRY(budgets, BalancedMaxMemory(
                             question.tree, budgets,
                             {.sizes = question.sizes, .no_split = no_split, .low_zero = mode == "balanced_low_0"}));
  }
  if (options.emit == "max-memory") return DeviceMapAnswer{.text = WriteMaxMemory(budgets) + "\n"};
  Result<Inferred> inferred = InferDeviceMap(question.tree, {.max_memory = budgets,
                                                             .no_split = no_split,
                                                             .sizes = question.sizes,
                                                             .clean = !options.no_clean,
                                                             .offload_buffers = options.offload_buffers,
                                                             .fallback = options.fallback});
  if (!inferred) {
    return std::move(inferred).error().In(fmt::format("{} has no map for this", RulesName(question.sizes.rules)));
  }
  if (options.emit) {
    return DeviceMapAnswer{.text = WriteDeviceMap(inferred->map, question.tree),
                           .strategy = StrategyOf(inferred->map, question.tree)};
  }
  DeviceMapReport report =
      MakeDeviceMapReport(question.loaded, question.tree, inferred->map, question.budgets, budgets);
  report.strategy = std::string(kPrefix) + mode;
  report.rules = RulesName(question.sizes.rules);
  AddNotes(*inferred, report);
  AddTimes(task, options, question, report);
  return Answer(report, question.tree, json);
}

Result<DeviceMapAnswer> JudgeFile(const TaskOptions& task, const DeviceMapOptions& options, bool json) {
  STOWAGE_TRY(Question question, Ask(task, options));
  if (options.max_memory || !task.machine.gpus.empty()) {
    STOWAGE_TRY(question.budgets, ReadBudgets(task, options));
  }
  STOWAGE_TRY(const std::string text, ReadTextFile(*options.file, kLargestMap));
  Result<DeviceMap> map = accelerate::ReadDeviceMap(text);
  if (!map) return std::move(map).error().In(*options.file);
  TakeOtherNames(question.tree, *map);
  std::vector<std::string> unknown;
  Status covered = CheckDeviceMap(question.tree, *map, &unknown);
  if (!covered) return std::move(covered).error().In(*options.file);
  Result<std::vector<std::string>> apart = TiesApart(question.tree, *map);
  if (!apart) return std::move(apart).error().In(*options.file);
  if (options.emit == "max-memory") return DeviceMapAnswer{.text = WriteMaxMemory(question.budgets) + "\n"};
  if (options.emit) {
    return DeviceMapAnswer{.text = WriteDeviceMap(*map, question.tree), .strategy = StrategyOf(*map, question.tree)};
  }
  DeviceMapReport report =
      MakeDeviceMapReport(question.loaded, question.tree, *map, question.budgets, question.budgets);
  report.strategy = *options.file;
  report.rules = RulesName(question.sizes.rules);
  if (!unknown.empty()) report.notes.push_back("No module is called " + Join(unknown, ", ") + ".");
  for (const std::string& sentence : *apart) report.notes.push_back(sentence + ".");
  AddTimes(task, options, question, report);
  return Answer(report, question.tree, json);
}

Result<PlacementObjective> ReadObjective(const std::optional<std::string>& text) {
  if (!text || *text == "latency") return PlacementObjective::kLatency;
  if (*text == "throughput") return PlacementObjective::kThroughput;
  if (*text == "memory") return PlacementObjective::kMemory;
  return Bad(fmt::format("--objective: '{}' is neither latency, throughput nor memory", *text));
}

// Budgets in words of --max-memory take the place of --gpu, --cpu and --disk.
Result<Machine> OptimalMachine(const TaskOptions& task, const DeviceMapOptions& options) {
  MachineSpec spec = task.machine;
  if (!options.max_memory) {
    if (spec.gpus.empty()) return Bad("--gpu or --max-memory is missing; see plan --help");
    return MachineOf(spec);
  }
  Result<MaxMemory> budgets = accelerate::ReadMaxMemory(*options.max_memory);
  if (!budgets) return std::move(budgets).error().In("--max-memory");
  const bool named = !spec.gpus.empty();
  std::int64_t gpus = 0;
  for (const auto& [device, bytes] : *budgets) {
    const std::string size = std::to_string(bytes.Truncated());
    if (device.kind == DeviceKind::kCpu) spec.cpu = size;
    if (device.kind == DeviceKind::kDisk) spec.disk = size;
    if (device.kind == DeviceKind::kMps) return Bad("--max-memory: device-map:optimal knows no 'mps'");
    if (device.kind != DeviceKind::kAccelerator) continue;
    if (device.index != gpus++) return Bad("--max-memory: device-map:optimal needs devices 0, 1, 2 and so on");
    if (!named) spec.gpus.push_back(size);
  }
  STOWAGE_TRY(Machine machine, MachineOf(spec));
  if (static_cast<std::int64_t>(machine.gpus.size()) < gpus) {
    return Bad(fmt::format("--max-memory: {} accelerators, but --gpu gives {}", gpus, machine.gpus.size()));
  }
  for (const auto& [device, bytes] : *budgets) {
    if (device.kind != DeviceKind::kAccelerator) continue;
    machine.pools[machine.FindPool(fmt::format("gpu{}", device.index))].budget = Bytes(bytes.Truncated());
  }
  return machine;
}

Status CheckOptimalOptions(const DeviceMapOptions& options) {
  const char* stray = options.rules                  ? "--rules"
                      : !options.special.empty()     ? "--special-dtype"
                      : options.offload_buffers      ? "--offload-buffers"
                      : options.fallback             ? "--fallback"
                      : options.emit == "max-memory" ? "--emit max-memory"
                                                     : nullptr;
  if (stray == nullptr) return OkStatus();
  return Bad(fmt::format("{}: device-map:optimal does not follow accelerate's rules", stray));
}

Result<DeviceMapAnswer> Optimal(const TaskOptions& task, std::string_view parameters, const DeviceMapOptions& options,
                                bool json) {
  STOWAGE_RETURN_IF_ERROR(CheckOptimalOptions(options));
  if (!parameters.empty() && parameters != ":native") {
    return Bad(fmt::format("--strategy device-map:optimal{}: only ':native' may follow", parameters));
  }
  OptimalQuestion question{.request = task.request,
                           .runtime = parameters.empty() ? ChainRuntime::kAccelerate : ChainRuntime::kNative,
                           .any_order = options.any_order};
  STOWAGE_TRY(question.objective, ReadObjective(options.objective));
  STOWAGE_TRY(question.machine, OptimalMachine(task, options));
  STOWAGE_TRY(question.model, LoadNamedModel(task.model));
  STOWAGE_RETURN_IF_ERROR(ApplyFormat(question.model, task.request));
  if (options.no_split) question.model.no_split_classes = SplitAtCommas(*options.no_split);
  STOWAGE_TRY(OptimalMap best, SolveOptimal(question));
  if (options.no_clean) best.map = DeviceMapOf(best.chain, best.placement);
  const std::string map = WriteDeviceMap(best.map, accelerate::TreeOf(question.model));
  const bool native = question.runtime == ChainRuntime::kNative;
  DeviceMapAnswer answer{.text = map, .strategy = (native ? "device-map-ring:" : "device-map:") + OnOneLine(map)};
  if (!options.emit) answer.text = json ? OptimalJson(question, best) : OptimalText(question, best);
  return answer;
}

}  // namespace

void AddDeviceMapOptions(CommandLine& line, DeviceMapOptions* options) {
  line.Option("--device-map", &options->file, "check this device map (accelerate's JSON) and say what lies where");
  line.Option("--rules", &options->rules, "of device-map: accelerate, or transformers for from_pretrained's");
  line.Option("--max-memory", &options->max_memory,
              "of device-map: budgets as accelerate takes them, '{\"0\": \"15GB\", \"cpu\": \"30GB\"}'");
  line.Option("--no-split", &options->no_split, "of device-map: classes not to split, A,B; '' for none");
  line.MayBeEmpty("--no-split");
  line.Option("--special-dtype", &options->special, "of device-map: NAME=DTYPE, the type one tensor is loaded in");
  line.Option("--emit", &options->emit, "of device-map: print only this, device-map or max-memory");
  line.Option("--objective", &options->objective, "of device-map:optimal: latency (default), throughput or memory");
  line.Flag("--any-order", &options->any_order, "of device-map:optimal: the best order of the GPUs, not the given one");
  line.Flag("--offload-buffers", &options->offload_buffers, "of device-map: buffers go with their offloaded modules");
  line.Flag("--fallback", &options->fallback, "of device-map: accelerate's fallback_allocation");
  line.Flag("--no-clean", &options->no_clean, "of device-map: do not join entries on one device");
}

Result<bool> WantsDeviceMap(const std::optional<std::string>& strategy, const DeviceMapOptions& options) {
  const bool own = options.rules || options.max_memory || options.no_split || !options.special.empty() ||
                   options.emit || options.objective || options.any_order || options.offload_buffers ||
                   options.fallback || options.no_clean;
  if (options.emit && *options.emit != "device-map" && *options.emit != "max-memory") {
    return Bad(fmt::format("--emit: '{}' is neither device-map nor max-memory", *options.emit));
  }
  if (options.file) {
    if (strategy) return Bad("--device-map is a placement of its own: leave out --strategy");
    return true;
  }
  if (strategy && strategy->starts_with(kPrefix)) {
    const std::string_view mode = std::string_view(*strategy).substr(kPrefix.size());
    if (mode.substr(0, mode.find(':')) == kOptimal) return true;
    if (options.objective || options.any_order) {
      return Bad("--objective and --any-order are of device-map:optimal; accelerate's rules know neither");
    }
    if (std::find(kModes.begin(), kModes.end(), mode) != kModes.end()) return true;
    return Bad(fmt::format(
        "--strategy: '{}' is not a device map; auto, balanced, balanced_low_0, sequential and optimal are", mode));
  }
  if (own)
    return Bad(
        "--rules, --max-memory, --no-split, --special-dtype, --emit and their like need --strategy "
        "device-map:auto (or balanced, balanced_low_0, sequential, optimal)");
  return false;
}

Result<DeviceMapAnswer> PlanDeviceMap(const TaskOptions& task, const std::optional<std::string>& strategy,
                                      const DeviceMapOptions& options, bool json) {
  if (options.file) return JudgeFile(task, options, json);
  const std::string_view mode = std::string_view(*strategy).substr(kPrefix.size());
  if (mode.starts_with(kOptimal)) return Optimal(task, mode.substr(kOptimal.size()), options, json);
  return InferAndReport(task, strategy->substr(kPrefix.size()), options, json);
}

}  // namespace stowage

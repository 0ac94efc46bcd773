#include "tools/common/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/formats/file.h"
#include "planner/quant/quantize.h"
#include "planner/strategy/registry.h"
#include "tools/common/gpus.h"
#include "tools/common/host.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"

namespace stowage {
namespace {

constexpr std::int64_t kMostProfileBytes = 1 << 20;

// The dtypes that kernels compute with; others are for storage.
bool Computable(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

// No strategy computes with packed weights, nor with llama.cpp's layout of q and k.
Status CheckComputable(const Model& model) {
  if (!model.family.starts_with("gguf/")) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{}: running GGUF weights is not supported yet; `inspect` shows what they are", model.name)};
}

// A model that makes no tokens is run once, over the prompt: what --prompt does not say is what it can take. Whisper's
// prompt is its decoder's: what generate() starts it with.
void FitRequest(const Model& model, Request& request) {
  if (!IsKnownFamily(model.family)) return;
  std::int64_t most = model.shape.max_positions > 0 ? model.shape.max_positions : request.prompt_tokens;
  if (model.forward.forced_tokens > 0) {
    most = model.forward.forced_tokens;
  } else if (MakesTokens(model)) {
    return;
  } else {
    request.new_tokens = 0;
  }
  if (!request.prompt_given) request.prompt_tokens = std::min(request.prompt_tokens, most);
}

// What the prompt of an encoder-decoder is.
std::string PromptNote(const Model& model) {
  if (model.forward.forced_tokens == 0) {
    return "The encoder reads the prompt, once; the decoder starts with one token of its own, which the prompt does "
           "not "
           "count.";
  }
  constexpr std::int64_t kFramesASecond = 100;  // a hop of 160 samples at 16 kHz
  const std::int64_t frames = 2 * model.shape.cross_positions;
  const char* made_of =
      model.forward.forced_tokens == 2 ? "start, no timestamps" : "start, language, task, no timestamps";
  return fmt::format(
      "The encoder hears {} frames of sound ({} s), once, however short the speech; the prompt is what the "
      "decoder starts with: {} tokens ({}), more with a text before it.",
      FormatCount(frames), FormatCount(frames / kFramesASecond), model.forward.forced_tokens, made_of);
}

// "--gpu auto" stands for the cards of this computer.
Status ResolveAuto(MachineSpec& spec) {
  if (spec.gpus != std::vector<std::string>{"auto"}) return OkStatus();
  STOWAGE_TRY(const std::vector<DetectedGpu> gpus, DetectGpus());
  spec.gpus.clear();
  for (const DetectedGpu& gpu : gpus) spec.gpus.push_back(GpuTextOf(gpu));
  return OkStatus();
}

// Sets what the request leaves to the model.
Result<Model> LoadModelFor(const std::string& what, Request& request, bool any_weights) {
  STOWAGE_TRY(Model model, LoadNamedModel(what));
  if (!any_weights) STOWAGE_RETURN_IF_ERROR(CheckComputable(model));
  if (request.dtype && !Computable(*request.dtype)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("--dtype {}: the kernels compute in fp32, fp16 or bf16", Name(*request.dtype))};
  }
  STOWAGE_RETURN_IF_ERROR(ApplyFormat(model, request));
  FitRequest(model, request);
  if (IsEncoderDecoder(model)) model.notes.push_back(PromptNote(model));
  const std::int64_t positions = model.shape.max_positions;  // 0: no limit (t5), no text (vit), or not known
  if (positions > 0 && request.prompt_tokens + request.new_tokens > positions) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} prompt and {} new tokens are more than the {} positions of {}", request.prompt_tokens,
                             request.new_tokens, positions, model.name)};
  }
  return model;
}

// Which strategies leave all cards but gpu0 idle.
void SayWhatUsesOneGpu(Machine& machine) {
  if (machine.gpus.size() <= 1) return;
  std::vector<std::string> one;
  for (const Strategy& s : AllStrategies()) {
    if (s.gpus == GpuUse::kFirst) one.push_back(s.name);
  }
  machine.assumptions.push_back(Join(one, ", ") + " use gpu0 alone.");
}

// Where shards are cut when there are none to look at.
void SayHowItIsSharded(const Model& model, const Loading& loading, Machine& machine) {
  const bool by_shard = loading.mode && Name(*loading.mode).starts_with("by-shard");
  if (by_shard && model.files.empty()) {
    machine.assumptions.emplace_back("No checkpoint is read: its shards are assumed to have at most 5 GB.");
  }
}

}  // namespace

Result<Machine> MachineOf(MachineSpec spec) {
  STOWAGE_RETURN_IF_ERROR(ResolveAuto(spec));
  HostFacts facts = ReadHostFacts();
  Result<Bytes> free = FreeDiskSpace(spec.disk_path.value_or("."));
  if (free) {
    facts.disk_free = *free;
  } else if (spec.disk_path) {
    return std::move(free).error().In("--disk-path");
  }
  if (spec.profile_path) {
    STOWAGE_TRY(spec.profile, ReadTextFile(*spec.profile_path, kMostProfileBytes));
  }
  return BuildMachine(spec, facts);
}

void AddTaskOptions(CommandLine& line, TaskOptions* options, bool gpu_required) {
  AddModelOption(line, &options->model);
  AddMachineOptions(line, &options->machine, gpu_required);
  AddRequestOptions(line, &options->request);
  AddLoadingOptions(line, &options->request.loading);
}

void AddStrategyOption(CommandLine& line, std::string* strategy, std::string_view runtime) {
  std::vector<std::string> names;
  for (const Strategy& s : AllStrategies()) {
    if (runtime.empty() || s.runtime == runtime) names.push_back(s.name);
  }
  line.Option("--strategy", strategy, "NAME[:PARAMETERS]: " + Join(names, ", "));
}

Result<LoadedTask> LoadOn(Machine machine, const std::string& model, const Request& request) {
  LoadedTask out{.machine = std::move(machine), .request = request};
  STOWAGE_TRY(out.model, LoadModelFor(model, out.request, /*any_weights=*/false));
  SayWhatUsesOneGpu(out.machine);
  SayHowItIsSharded(out.model, out.request.loading, out.machine);
  return out;
}

Result<LoadedTask> Load(const TaskOptions& options, bool any_weights) {
  LoadedTask out{.request = options.request};
  STOWAGE_TRY(out.model, LoadModelFor(options.model, out.request, any_weights));
  STOWAGE_TRY(out.machine, MachineOf(options.machine));
  SayWhatUsesOneGpu(out.machine);
  SayHowItIsSharded(out.model, out.request.loading, out.machine);
  return out;
}

}  // namespace stowage

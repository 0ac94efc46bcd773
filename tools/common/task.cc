#include "tools/common/task.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "planner/families/families.h"
#include "planner/quant/quantize.h"
#include "tools/common/gpus.h"
#include "tools/common/host.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"

namespace stowage {
namespace {

// The dtypes that kernels compute with; others are for storage.
bool Computable(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

// No strategy computes with packed weights, nor with llama.cpp's layout of q and k.
Status CheckComputable(const Model& model) {
  if (!model.family.starts_with("gguf/")) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{}: running GGUF weights is not supported yet; `inspect` shows what they are", model.name)};
}

// "--gpu auto" stands for the cards of this computer.
Status ResolveAuto(MachineSpec& spec) {
  if (spec.gpus != std::vector<std::string>{"auto"}) return OkStatus();
  STOWAGE_TRY(const std::vector<DetectedGpu> gpus, DetectGpus());
  spec.gpus.clear();
  for (const DetectedGpu& gpu : gpus) spec.gpus.push_back(GpuTextOf(gpu));
  return OkStatus();
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
  return BuildMachine(spec, facts);
}

void AddTaskOptions(CommandLine& line, TaskOptions* options, bool gpu_required) {
  AddModelOption(line, &options->model);
  AddMachineOptions(line, &options->machine, gpu_required);
  AddRequestOptions(line, &options->request);
}

Result<LoadedTask> Load(const TaskOptions& options, bool any_weights) {
  LoadedTask out{.request = options.request};
  STOWAGE_TRY(out.model, LoadNamedModel(options.model));
  if (!any_weights) STOWAGE_RETURN_IF_ERROR(CheckComputable(out.model));
  if (options.request.dtype && !Computable(*options.request.dtype)) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("--dtype {}: the kernels compute in fp32, fp16 or bf16", Name(*options.request.dtype))};
  }
  STOWAGE_RETURN_IF_ERROR(ApplyFormat(out.model, options.request));
  const std::int64_t positions = out.model.shape.max_positions;  // 0: of an architecture that is not known
  if (positions > 0 && out.request.prompt_tokens + out.request.new_tokens > positions) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} prompt and {} new tokens are more than the {} positions of {}",
                             out.request.prompt_tokens, out.request.new_tokens, positions, out.model.name)};
  }
  STOWAGE_TRY(out.machine, MachineOf(options.machine));
  if (out.machine.gpus.size() > 1) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} GPUs given, but no strategy uses more than one yet", out.machine.gpus.size())};
  }
  return out;
}

}  // namespace stowage

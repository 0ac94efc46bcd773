#include "tools/accuracy/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "planner/families/families.h"
#include "planner/machine/build_machine.h"
#include "planner/quant/fits.h"
#include "planner/quant/scheme.h"
#include "planner/realize/library_workspace.h"
#include "planner/solve/accelerate/infer.h"
#include "planner/strategy/registry.h"
#include "sim/engine/engine.h"
#include "sim/rank/rank.h"
#include "tools/accuracy/old_masks.h"
#include "tools/common/task.h"

namespace stowage {
namespace {

using published::Figure;
using published::Quantity;

Result<Machine> MachineOf(const published::Machine& m) {
  MachineSpec spec{.gpus = {std::string(m.gpus)}, .cpu = std::string(m.cpu), .disk = std::string(m.disk)};
  if (!m.profile.empty()) {
    spec.profile = std::string(m.profile);
    spec.profile_path = std::string(m.id);
  }
  return BuildMachine(spec, {});
}

Result<Request> RequestOf(const published::Row& row) {
  Request request{.batch = row.batch, .prompt_tokens = row.prompt, .new_tokens = row.new_tokens};
  STOWAGE_TRY(const NumberFormat format, ParseNumberFormat(row.dtype));
  request.dtype = format.dtype;
  if (format.scheme != nullptr) request.quantization = format.scheme->name;
  if (!row.load.empty()) STOWAGE_RETURN_IF_ERROR(ReadLoadMode(row.load, request.loading));
  return request;
}

// "device-map:sequential" under budgets that are not the pools': the map itself.
Result<std::string> StrategyOf(const published::Table& table, const published::Row& row, const Model& model) {
  if (table.machine->max_memory.empty() || row.strategy != "device-map:sequential") return std::string(row.strategy);
  STOWAGE_TRY(accelerate::MaxMemory budgets, accelerate::ReadMaxMemory(table.machine->max_memory));
  const accelerate::PlacementTree tree = accelerate::TreeOf(model);
  STOWAGE_TRY(const accelerate::Inferred inferred,
              InferDeviceMap(tree, {.max_memory = std::move(budgets), .no_split = model.no_split_classes}));
  return "device-map:" + WriteDeviceMap(inferred.map, tree);
}

struct Run {
  Lowered lowered;
  Timeline timeline;
};

Result<Run> Simulated(const published::Table& table, const published::Row& row) {
  STOWAGE_TRY(const Machine machine, MachineOf(*table.machine));
  STOWAGE_TRY(const Request request, RequestOf(row));
  STOWAGE_TRY(LoadedTask task, LoadOn(machine, std::string(row.model), request));
  if (row.mask_side > 0) task.model = WithStoredMasks(task.model, row.mask_side);
  const std::vector<Strategy> strategies = AllStrategies();
  STOWAGE_TRY(const std::string strategy, StrategyOf(table, row, task.model));
  STOWAGE_TRY(const StrategyChoice choice, FindStrategy(strategies, strategy));
  Run run;
  STOWAGE_TRY(run.lowered, LowerBest(*choice.strategy, task.task(), choice.parameters));
  STOWAGE_TRY(run.timeline, Simulate(run.lowered.schedule, task.machine));
  if (run.timeline.out_of_memory) {
    const OutOfMemory& oom = *run.timeline.out_of_memory;
    return Error{ErrorCode::kOutOfMemory, fmt::format("{} runs out of memory at {}", oom.pool, oom.step)};
  }
  return run;
}

// Bytes of weights by pool, a tied one once.
std::map<std::string, double> WeightsByPool(const Plan& plan) {
  std::map<std::string, double> out;
  for (const TensorPlan& tensor : plan.tensors) {
    const double row =
        static_cast<double>(tensor.bytes().value()) / static_cast<double>(std::max<std::int64_t>(1, tensor.Rows()));
    std::map<std::string, std::int64_t> rows;  // the most of any phase
    for (const Residency& part : tensor.parts) {
      rows[part.pool] = std::max(rows[part.pool], part.row_end - part.row_begin);
    }
    for (const auto& [pool, count] : rows) out[pool] += row * static_cast<double>(count);
  }
  return out;
}

struct Times {
  double all = 0, decode = 0;
  std::int64_t passes = 0;
};

Times TimesOf(const Timeline& timeline) {
  Times out;
  for (const PhaseTimeline& phase : timeline.phases) {
    if (phase.phase == "load") continue;
    out.all += phase.seconds.value();
    if (phase.phase != "decode") continue;
    out.decode += phase.seconds.value();
    out.passes += phase.iterations;
  }
  return out;
}

// The peak of a pool, with a cache as long as the row's.
std::optional<double> ProcessBytes(const published::Row& row, const Run& run, const std::string& name) {
  for (const PoolTimeline& pool : run.timeline.pools) {
    if (pool.pool != name) continue;
    const auto peak = static_cast<double>(pool.peak.bytes.value());
    const std::int64_t positions = run.lowered.plan.request.CachePositions();
    if (row.context <= positions) return peak;
    double cache = 0;
    for (const ArenaPlan& arena : run.lowered.plan.arenas) {
      if (arena.pool == name && arena.kind == "kv") cache += static_cast<double>(arena.bytes.value());
    }
    return peak + cache * (static_cast<double>(row.context) / static_cast<double>(positions) - 1);
  }
  return std::nullopt;
}

std::optional<double> ValueOf(const Figure& figure, const published::Row& row, const Run& run) {
  const Times times = TimesOf(run.timeline);
  const auto batch = static_cast<double>(row.batch);
  switch (figure.what) {
    case Quantity::kGpuBytes:
      return WeightsByPool(run.lowered.plan)[fmt::format("gpu{}", figure.gpu)];
    case Quantity::kHostBytes:
      return WeightsByPool(run.lowered.plan)["host"];
    case Quantity::kSecondsPerToken:
      return times.all / static_cast<double>(row.new_tokens);
    case Quantity::kTokensPerSecond:
      return batch * static_cast<double>(row.new_tokens) / times.all;
    case Quantity::kDecodeRate:
      return times.passes > 0 ? std::optional(batch * static_cast<double>(times.passes) / times.decode) : std::nullopt;
    case Quantity::kProcessGpuBytes:
      return ProcessBytes(row, run, fmt::format("gpu{}", figure.gpu));
    case Quantity::kKvTokens:
      return std::nullopt;
    case Quantity::kLoadSeconds: {
      const PhaseTimeline* load = FindPhase(run.timeline, "load");
      return load == nullptr ? std::nullopt : std::optional(load->seconds.value());
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<PredictedRow> Predict(const published::Table& table) {
  std::vector<PredictedRow> out;
  for (const published::Row& row : table.rows) {
    PredictedRow predicted{.row = &row};
    if (row.strategy.empty()) {
      predicted.why_not = row.remark;
    } else if (const Result<Run> run = Simulated(table, row); !run) {
      predicted.why_not = run.error().message;
    } else {
      for (const Figure& figure : row.figures) predicted.values.push_back(ValueOf(figure, row, *run));
    }
    out.push_back(std::move(predicted));
  }
  return out;
}

Result<PredictedVllm> Predict(const published::VllmRun& run) {
  const published::Row row{.dtype = run.dtype, .batch = 1, .prompt = run.batched_tokens, .new_tokens = 1};
  STOWAGE_TRY(const Request request, RequestOf(row));
  STOWAGE_TRY(const Machine machine,
              BuildMachine({.gpus = {std::string(run.card)}, .cpu = "64GB", .disk = "100GB"}, {}));
  STOWAGE_TRY(const LoadedTask task, LoadOn(machine, std::string(run.model), request));
  PredictedVllm out;
  out.budget = Bytes(static_cast<std::int64_t>(run.utilization * static_cast<double>(run.device_bytes)));
  out.weights = task.model.WeightBytes();
  out.context = kCudaContext + CublasWorkspace(machine.gpus[0].compute_capability);
  out.activations = MemoryOf(task.model, request).activations;
  const std::int64_t vocab = task.model.shape.vocab;
  out.sampling = run.sequences * (SizeOf(task.model.ComputeDType(), vocab) + 3 * SizeOf(DType::kF32, vocab));
  out.per_token = CacheBytesPerPosition(task.model);
  const Bytes left = out.budget - out.weights - out.context - std::max(out.activations, out.sampling);
  out.tokens = left.value() / (out.per_token.value() * run.block) * run.block;
  return out;
}

}  // namespace stowage

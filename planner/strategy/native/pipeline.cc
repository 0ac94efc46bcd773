#include "planner/strategy/native/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/gpu_share.h"
#include "planner/strategy/native/chain.h"
#include "planner/strategy/native/native_form.h"

namespace stowage {
namespace {

constexpr std::string_view kName = "pipeline";
constexpr std::int64_t kMostMicroBatches = 1024;

Result<std::int64_t> MicroBatches(const PlanningTask& task, std::string_view text) {
  if (text.empty()) {
    auto count = std::min<std::int64_t>(task.request.batch, static_cast<std::int64_t>(task.machine->gpus.size()));
    while (task.request.batch % count != 0) --count;
    return count;
  }
  std::int64_t count = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error == std::errc() && stop == text.data() + text.size() && count >= 1 && count <= kMostMicroBatches) {
    return count;
  }
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{}:{}: the number of micro-batches is 1 to {}", kName, text, kMostMicroBatches)};
}

// What each GPU holds.
Result<DeviceMapHomes> StagesOf(const PlanningTask& task) {
  if (task.machine->gpus.size() < 2) {
    return Error{ErrorCode::kInfeasible, "pipeline needs several GPUs: one has no stages"};
  }
  STOWAGE_TRY(DeviceMapHomes homes, HomesOf(task, "throughput"));
  for (std::size_t t = 0; t < homes.weights.size(); ++t) {
    if (homes.weights[t] == WeightHome::kDevice) continue;
    return Error{ErrorCode::kInfeasible,
                 fmt::format("pipeline: the GPUs cannot hold {}, and a stage streams nothing; see rings",
                             task.model->tensors[t].name)};
  }
  return homes;
}

ChainProposal WithMicroBatches(const DeviceMapHomes& stages, std::int64_t count) {
  return {.strategy = fmt::format("{}:{}", kName, count), .gpu = stages.gpu, .micro_batches = count};
}

Result<ChainProposal> Propose(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const std::int64_t count, MicroBatches(task, parameters));
  STOWAGE_TRY(const DeviceMapHomes stages, StagesOf(task));
  return WithMicroBatches(stages, count);
}

Result<Lowered> Lower(const PlanningTask& task, std::string_view parameters) {
  STOWAGE_TRY(const ChainProposal proposal, Propose(task, parameters));
  return LowerChain(task, proposal);
}

std::vector<std::string> Candidates(const PlanningTask& task) {
  std::vector<std::string> out;
  const auto gpus = static_cast<std::int64_t>(task.machine->gpus.size());
  for (const std::int64_t count : {gpus, 2 * gpus, std::int64_t{1}}) {
    if (count <= task.request.batch && task.request.batch % count == 0) out.push_back(std::to_string(count));
  }
  if (out.empty()) out.emplace_back("1");
  return out;
}

ClosedForm Close(const PlanningTask& task, std::string_view parameters) {
  std::vector<std::string> all = {std::string(parameters)};
  if (parameters.empty()) all = Candidates(task);
  return BestForm(task.request, std::move(all), [&](const std::string& p) -> Result<ClosedForm> {
    STOWAGE_TRY(const ChainProposal proposal, Propose(task, p));
    return FormOfChain(task, proposal);
  });
}

// With any number of micro-batches.
Result<std::vector<Bytes>> SmallestGpus(const PlanningTask& task) {
  return SmallestShare(task, [](const PlanningTask& probe) -> Status {
    STOWAGE_TRY(const DeviceMapHomes stages, StagesOf(probe));
    Status last = OkStatus();
    for (const std::string& count : Candidates(probe)) {
      STOWAGE_TRY(const std::int64_t micro_batches, MicroBatches(probe, count));
      last = CheckChain(probe, WithMicroBatches(stages, micro_batches));
      if (last) return last;
    }
    return last;
  });
}

}  // namespace

Strategy PipelineStrategy() {
  return {.name = std::string(kName),
          .runtime = "native",
          .summary = "blocks on several GPUs, micro-batches of the batch following each other through them",
          .lower = Lower,
          .candidates = Candidates,
          .smallest_gpu_budgets = SmallestGpus,
          .closed_form = Close,
          .gpus = GpuUse::kSeveral};
}

}  // namespace stowage

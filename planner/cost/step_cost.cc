#include "planner/cost/step_cost.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/cost/cost.h"

namespace stowage {
namespace {

ResourceCost Split(Seconds own, Seconds total) { return {own, total - own}; }

ResourceCost TransferCost(const Step& step, Bytes bytes, const Resource& resource) {
  if (resource.transfer) {
    return Split(resource.transfer->latency, Duration(bytes, *resource.transfer, step.pageable));
  }
  if (resource.compute && step.kind != StepKind::kRead) {
    return Split(resource.compute->launch, LocalCopyDuration(bytes, *resource.compute));
  }
  return {};
}

ResourceCost ComputeCost(const Kernel& kernel, std::int64_t iteration, const Resource& resource) {
  if (resource.compute) return Split(resource.compute->launch, Duration(kernel, iteration, *resource.compute));
  if (resource.transfer) {
    return Split(resource.transfer->latency, Duration(kernel.bytes.at(iteration), *resource.transfer));
  }
  return {};
}

bool IsJob(StepKind kind) {
  return kind == StepKind::kRead || kind == StepKind::kCopy || kind == StepKind::kCompute || kind == StepKind::kReduce;
}

Seconds AllocationCost(const DispatchCost& dispatch, PoolKind pool, Bytes bytes) {
  const auto size = static_cast<double>(bytes.value());
  if (pool == PoolKind::kGpu) return dispatch.device_malloc + Seconds(size * dispatch.populate_gpu);
  return pool == PoolKind::kHost ? Seconds(size * dispatch.populate_host) : Seconds(0);
}

}  // namespace

Result<std::vector<const Resource*>> BindResources(const Schedule& schedule, const Machine& machine) {
  std::vector<const Resource*> bound;
  bound.reserve(schedule.resources.size());
  for (const std::string& name : schedule.resources) {
    const std::int32_t found = machine.FindResource(name);
    if (found < 0) {
      return Error{ErrorCode::kInvalidInput, fmt::format("schedule '{}' uses resource '{}', which machine '{}' lacks",
                                                         schedule.name, name, machine.name)};
    }
    bound.push_back(&machine.resources[found]);
  }
  return bound;
}

AffineBytes CostedBytes(const Step& step) {
  if (step.expected_bytes) return *step.expected_bytes;
  if (!step.writes.empty()) return step.writes[0].bytes;
  if (!step.reads.empty()) return step.reads[0].bytes;
  return AffineBytes{};
}

bool DependsOnIteration(const Schedule& schedule, const Step& step) {
  if (step.fixed || !IsJob(step.kind)) return false;
  if (step.kind != StepKind::kCompute) return !CostedBytes(step).constant();
  if (step.kernel < 0) return false;
  const Kernel& kernel = schedule.kernels[step.kernel];
  return !kernel.flops.constant() || !kernel.bytes.constant();
}

ResourceCost CostOn(const Schedule& schedule, const Step& step, std::int64_t iteration, const Resource& resource,
                    int ranks) {
  if (step.fixed) return {Seconds(0), *step.fixed};
  switch (step.kind) {
    case StepKind::kCompute:
      return step.kernel < 0 ? ResourceCost{} : ComputeCost(schedule.kernels[step.kernel], iteration, resource);
    case StepKind::kRead:
    case StepKind::kCopy:
      return TransferCost(step, CostedBytes(step).at(iteration), resource);
    case StepKind::kReduce:
      if (!resource.transfer) return {};
      return Split(AllReduceDuration(Bytes(0), ranks, *resource.transfer),
                   AllReduceDuration(CostedBytes(step).at(iteration), ranks, *resource.transfer));
    default:
      return {};
  }
}

Seconds Duration(const Schedule& schedule, const Step& step, std::int64_t iteration,
                 const std::vector<const Resource*>& resources, int ranks) {
  if (!IsJob(step.kind)) return Seconds(0);
  if (step.fixed) return *step.fixed;
  Seconds slowest(0);
  for (const std::int16_t r : step.resources) {
    if (r < 0) continue;
    const ResourceCost cost = CostOn(schedule, step, iteration, *resources[r], ranks);
    slowest = std::max(slowest, cost.own + cost.divided);
  }
  return slowest;
}

Seconds IssueCost(const DispatchCost& dispatch, IssuerKind issuer, const Step& step, PoolKind pool, Bytes bytes) {
  const bool native = issuer == IssuerKind::kNative;
  switch (step.kind) {
    case StepKind::kRead:
    case StepKind::kCopy:
    case StepKind::kCompute:
    case StepKind::kReduce:
      if (native) return dispatch.native_launch;
      return step.queue < 0 ? dispatch.torch_hook : dispatch.torch_operator;
    case StepKind::kAllocate:
      return native ? AllocationCost(dispatch, pool, bytes) : Seconds(0);
    case StepKind::kFree:
      return native && pool == PoolKind::kGpu ? dispatch.device_free : Seconds(0);
    case StepKind::kEmptyCache:
      return dispatch.empty_cache;
    case StepKind::kRecordStream:
    case StepKind::kWait:
      return Seconds(0);
  }
  return Seconds(0);
}

}  // namespace stowage

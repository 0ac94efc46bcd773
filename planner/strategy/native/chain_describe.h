// A chain on its way to a schedule, what its buffers are called, and the plan it amounts to. Internal to
// planner/strategy/native.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "planner/plan/plan.h"
#include "planner/schedule/schedule.h"
#include "planner/strategy/native/chain_layout.h"

namespace stowage {

// Everything outlives the lowering.
struct ChainCase {
  const NativeModel& native;
  const PlanningTask& task;
  const ChainProposal& proposal;
  const ChainLayout& layout;
  const NativeProposal& rows;  // which rows are resident, for what knows one device only
  const NativeLayout& whole;   // as if it were one: where masters lie in host memory

  const Model& model() const { return *task.model; }
  std::size_t gpus() const { return static_cast<std::size_t>(layout.gpus); }
};

// What a case refers to; task and proposal are the caller's.
struct PreparedChain {
  std::shared_ptr<const NativeModel> native;  // of one micro-batch
  NativeProposal rows;
  ChainLayout layout;
  NativeLayout whole;

  ChainCase Of(const PlanningTask& task, const ChainProposal& proposal) const {
    return {*native, task, proposal, layout, rows, whole};
  }
};
// LowerChain's errors, but for those of budgets.
Result<PreparedChain> PrepareChain(const PlanningTask& task, const ChainProposal& proposal);
Status CheckBudgets(const ChainCase& c);

// "weights" on gpu0, "weights.gpu1" on gpu1: a plan names arenas without their pools.
std::string OnGpu(std::string_view what, std::size_t gpu);
// "prompt" where there is one micro-batch, "prompt.0" where there are more.
std::string OfMicroBatch(std::string_view what, std::int64_t m, std::int64_t micro_batches);

Plan DescribeChain(const ChainCase& c, const Schedule& schedule);

}  // namespace stowage

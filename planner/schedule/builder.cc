#include "planner/schedule/builder.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "planner/base/check.h"

namespace stowage {
namespace {

template <class Item>
std::int32_t Push(std::vector<Item>& list, std::type_identity_t<Item> item) {
  list.push_back(std::move(item));
  return static_cast<std::int32_t>(list.size()) - 1;
}

void Occupy(Step& step, const Lane& lane) {
  STOWAGE_CHECK(lane.resources.size() <= step.resources.size());
  step.queue = lane.queue;
  for (std::size_t i = 0; i < lane.resources.size(); ++i) {
    step.resources[i] = static_cast<std::int16_t>(lane.resources[i]);
  }
}

}  // namespace

ScheduleBuilder::ScheduleBuilder(std::string name) { schedule_.name = std::move(name); }

std::int32_t ScheduleBuilder::AddPool(std::string name, Allocator allocator, Bytes budget) {
  return Push(schedule_.pools, PoolUse{std::move(name), allocator, budget});
}

std::int32_t ScheduleBuilder::AddResource(std::string_view name) {
  const auto& all = schedule_.resources;
  const auto found = std::find(all.begin(), all.end(), name);
  if (found != all.end()) return static_cast<std::int32_t>(found - all.begin());
  return Push(schedule_.resources, std::string(name));
}

std::int32_t ScheduleBuilder::AddQueue(std::string_view name) {
  const auto& all = schedule_.queues;
  const auto found = std::find_if(all.begin(), all.end(), [&](const Queue& q) { return q.name == name; });
  if (found != all.end()) return static_cast<std::int32_t>(found - all.begin());
  return Push(schedule_.queues, Queue{std::string(name)});
}

std::int32_t ScheduleBuilder::AddIssuer(std::string name, IssuerKind kind) {
  return issuer_ = Push(schedule_.issuers, Issuer{std::move(name), kind});
}

std::int32_t ScheduleBuilder::AddFile(std::string name) { return Push(schedule_.files, std::move(name)); }

BufferId ScheduleBuilder::AddBuffer(std::int32_t pool, std::string name, BufferKind kind, AffineBytes bytes) {
  Buffer& buffer = schedule_.buffers.emplace_back();
  buffer.name = std::move(name);
  buffer.pool = pool;
  buffer.kind = kind;
  buffer.bytes = bytes;
  return static_cast<BufferId>(schedule_.buffers.size()) - 1;
}

BufferId ScheduleBuilder::AddInitial(std::int32_t pool, std::string name, BufferKind kind, Bytes bytes) {
  const BufferId id = AddBuffer(pool, std::move(name), kind, bytes);
  schedule_.buffers[id].initial = true;
  return id;
}

BufferId ScheduleBuilder::AddFileBuffer(std::int32_t pool, std::string name, std::int32_t file,
                                        std::int64_t file_offset, Bytes bytes) {
  const BufferId id = AddInitial(pool, std::move(name), BufferKind::kWeights, bytes);
  schedule_.buffers[id].file = file;
  schedule_.buffers[id].file_offset = file_offset;
  return id;
}

BufferId ScheduleBuilder::AddPart(BufferId parent, std::string name, BufferKind kind, Bytes offset, Bytes bytes) {
  const BufferId id = AddBuffer(schedule_.buffers[parent].pool, std::move(name), kind, bytes);
  schedule_.buffers[id].parent = parent;
  schedule_.buffers[id].offset = offset;
  return id;
}

std::int32_t ScheduleBuilder::AddKernel(Kernel kernel) { return Push(schedule_.kernels, std::move(kernel)); }

Slice ScheduleBuilder::Whole(BufferId buffer) const { return {buffer, 0, schedule_.buffers[buffer].bytes}; }

void ScheduleBuilder::BeginPhase(std::string name, std::vector<RequiredOp> required) {
  Phase phase;
  phase.name = std::move(name);
  phase.required = std::move(required);
  phase.prologue = phase.body = phase.epilogue = {next(), next(), 0};
  schedule_.phases.push_back(std::move(phase));
  section_ = -1;
}

Section& ScheduleBuilder::OpenSection(int which, std::int32_t passes) {
  STOWAGE_CHECK(!schedule_.phases.empty() && section_ < which);
  section_ = which;
  Phase& phase = schedule_.phases.back();
  Section& section = which == 0 ? phase.prologue : which == 1 ? phase.body : phase.epilogue;
  section.passes = passes;
  return section;
}

void ScheduleBuilder::BeginPrologue(std::int32_t passes) { OpenSection(0, passes); }

void ScheduleBuilder::BeginBody(std::int64_t iterations, std::int32_t passes, bool captured) {
  OpenSection(1, passes);
  schedule_.phases.back().iterations = iterations;
  schedule_.phases.back().captured = captured;
}

void ScheduleBuilder::BeginEpilogue(std::int32_t passes) { OpenSection(2, passes); }

std::int32_t ScheduleBuilder::FindRequired(std::string_view op) const {
  STOWAGE_CHECK(!schedule_.phases.empty());
  const auto& required = schedule_.phases.back().required;
  const auto found = std::find_if(required.begin(), required.end(), [&](const RequiredOp& r) { return r.name == op; });
  return found == required.end() ? -1 : static_cast<std::int32_t>(found - required.begin());
}

void ScheduleBuilder::Reserve(std::size_t steps, std::size_t buffers, std::size_t kernels) {
  schedule_.steps.reserve(schedule_.steps.size() + steps);
  schedule_.buffers.reserve(schedule_.buffers.size() + buffers);
  schedule_.kernels.reserve(schedule_.kernels.size() + kernels);
}

// Written in place: a step is large, and a schedule has tens of thousands.
Step& ScheduleBuilder::Append(StepKind kind) {
  STOWAGE_CHECK(section_ >= 0);
  Step& step = schedule_.steps.emplace_back();
  step.kind = kind;
  step.issuer = issuer_;
  Phase& phase = schedule_.phases.back();
  phase.epilogue.end = next();
  if (section_ <= 1) phase.body.end = phase.epilogue.begin = next();
  if (section_ == 0) phase.prologue.end = phase.body.begin = next();
  return step;
}

StepId ScheduleBuilder::Add(Step step) {
  step.issuer = issuer_;
  Append(step.kind) = std::move(step);
  return next() - 1;
}

StepId ScheduleBuilder::Allocate(BufferId buffer, std::int32_t queue) {
  Step& step = Append(StepKind::kAllocate);
  step.buffer = buffer;
  step.queue = queue;
  return next() - 1;
}

StepId ScheduleBuilder::Free(BufferId buffer) {
  Append(StepKind::kFree).buffer = buffer;
  return next() - 1;
}

StepId ScheduleBuilder::EmptyCache(std::int32_t pool) {
  Append(StepKind::kEmptyCache).pool = pool;
  return next() - 1;
}

StepId ScheduleBuilder::RecordStream(BufferId buffer, std::int32_t queue) {
  Step& step = Append(StepKind::kRecordStream);
  step.buffer = buffer;
  step.queue = queue;
  return next() - 1;
}

Step& ScheduleBuilder::Transfer(StepKind kind, const Lane& lane, Slice from, Slice to, std::vector<StepRef> after) {
  Step& step = Append(kind);
  Occupy(step, lane);
  step.reads.push_back(from);
  step.writes.push_back(to);
  step.after = std::move(after);
  return step;
}

StepId ScheduleBuilder::Read(const Lane& lane, Slice from, Slice to, std::vector<StepRef> after) {
  Transfer(StepKind::kRead, lane, from, to, std::move(after));
  return next() - 1;
}

StepId ScheduleBuilder::Copy(const Lane& lane, Slice from, Slice to, std::vector<StepRef> after) {
  Transfer(StepKind::kCopy, lane, from, to, std::move(after));
  return next() - 1;
}

StepId ScheduleBuilder::Compute(const Lane& lane, std::int32_t kernel, std::vector<Slice> reads,
                                std::vector<Slice> writes, Instance instance, std::vector<StepRef> after) {
  Step& step = Append(StepKind::kCompute);
  Occupy(step, lane);
  step.kernel = kernel;
  step.reads = std::move(reads);
  step.writes = std::move(writes);
  step.instance = instance;
  step.after = std::move(after);
  return next() - 1;
}

StepId ScheduleBuilder::Wait(StepRef target) {
  Append(StepKind::kWait).target = target;
  return next() - 1;
}

Schedule ScheduleBuilder::Take() && { return std::move(schedule_); }

}  // namespace stowage

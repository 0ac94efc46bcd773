// A thin way to write a Schedule step by step. It hands out indices, fills in the issuer and keeps sections
// consecutive; it checks nothing else (CheckSchedule does) and can express everything a Schedule can: every call
// returns an id, and step(id), buffer(id) give the noun itself to change.
//
//   ScheduleBuilder b("toy");
//   const auto gpu = b.AddPool("gpu0", Allocator::kArena, Bytes(1 << 20));
//   const Lane in = {b.AddQueue("gpu0/in"), {b.AddResource("gpu0.h2d")}};
//   b.AddIssuer("main", IssuerKind::kNative);                 // becomes the issuer of what follows
//   b.BeginPhase("load", {});
//   b.BeginPrologue(0);
//   b.Allocate(arena);
//   const StepId copied = b.Copy(in, b.Whole(host_w), b.Whole(w), {ready});
//   b.step(copied).blocking = true;
//   b.BeginPhase("decode", {{"mm"}});
//   b.BeginBody(/*iterations=*/16, /*passes=*/1);
//   ...
//   Schedule s = b.Take();
//
// Ids given to it must be ids it gave out; sections come in the order prologue, body, epilogue. Breaking that aborts.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "planner/schedule/schedule.h"

namespace stowage {

// Where a step runs: the queue it enters and what it occupies while it runs (up to three).
struct Lane {
  std::int32_t queue = -1;
  std::vector<std::int32_t> resources;
};

class ScheduleBuilder {
 public:
  explicit ScheduleBuilder(std::string name);

  std::int32_t AddPool(std::string name, Allocator allocator, Bytes budget);
  std::int32_t AddResource(std::string_view name);            // the existing index when the name is already there
  std::int32_t AddQueue(std::string_view name);               // likewise
  std::int32_t AddIssuer(std::string name, IssuerKind kind);  // and uses it from here on
  std::int32_t AddFile(std::string name);

  BufferId AddBuffer(std::int32_t pool, std::string name, BufferKind kind, AffineBytes bytes);
  BufferId AddInitial(std::int32_t pool, std::string name, BufferKind kind, Bytes bytes);  // there before the start
  BufferId AddFileBuffer(std::int32_t pool, std::string name, std::int32_t file, std::int64_t file_offset, Bytes bytes);
  BufferId AddPart(BufferId parent, std::string name, BufferKind kind, Bytes offset, Bytes bytes);
  std::int32_t AddKernel(Kernel kernel);

  void Reserve(std::size_t steps, std::size_t buffers, std::size_t kernels);  // room for so many more

  Slice Whole(BufferId buffer) const;

  void BeginPhase(std::string name, std::vector<RequiredOp> required);
  void BeginPrologue(std::int32_t passes);
  void BeginBody(std::int64_t iterations, std::int32_t passes, bool captured = false);
  void BeginEpilogue(std::int32_t passes);
  std::int32_t FindRequired(std::string_view op) const;  // in the current phase; -1 when absent

  void UseIssuer(std::int32_t issuer) { issuer_ = issuer; }  // of the steps that follow

  StepId Allocate(BufferId buffer, std::int32_t queue = -1);  // torch: of that queue's (stream's) memory
  StepId Free(BufferId buffer);
  StepId EmptyCache(std::int32_t pool);
  StepId RecordStream(BufferId buffer, std::int32_t queue);
  StepId Read(const Lane& lane, Slice from, Slice to, std::vector<StepRef> after = {});
  StepId Copy(const Lane& lane, Slice from, Slice to, std::vector<StepRef> after = {});
  StepId Compute(const Lane& lane, std::int32_t kernel, std::vector<Slice> reads, std::vector<Slice> writes,
                 Instance instance = {}, std::vector<StepRef> after = {});
  StepId Wait(StepRef target);
  StepId Add(Step step);  // as given, but its issuer is the current one

  Step& step(StepId id) { return schedule_.steps[id]; }
  Buffer& buffer(BufferId id) { return schedule_.buffers[id]; }
  StepId next() const { return static_cast<StepId>(schedule_.steps.size()); }  // the id of the step to come
  const Schedule& so_far() const { return schedule_; }

  Schedule Take() &&;  // moves the schedule out; the builder is done

 private:
  Section& OpenSection(int which, std::int32_t passes);
  Step& Append(StepKind kind);  // valid until the next one
  Step& Transfer(StepKind kind, const Lane& lane, Slice from, Slice to, std::vector<StepRef> after);

  Schedule schedule_;
  std::int32_t issuer_ = 0;
  int section_ = -1;  // 0 prologue, 1 body, 2 epilogue of the last phase; -1: none is open
};

}  // namespace stowage

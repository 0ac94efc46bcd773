// How the issuers of a run walk its steps. Internal to exec/run.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "exec/run/execute.h"
#include "exec/run/memory.h"

namespace stowage {

// What all issuers of a run share.
class StepIssuer {
 public:
  // All must outlive this. Opens the schedule's queues.
  static Result<std::unique_ptr<StepIssuer>> Create(const Schedule* schedule, DeviceSet* devices, RunMemory* memory,
                                                    const WeightFiles* files, const ExecuteOptions* options);

  void StartClock(Device::Clock::time_point epoch) { epoch_ = epoch; }

  // Issues every step of one issuer, in program order. Called once per issuer, each from a thread of its own. When one
  // fails, the others stop at their next step.
  Status Walk(std::int32_t issuer);

  // Walks all issuers on the calling thread: `first` goes on whenever it can; when it would wait for a step that is not
  // issued yet, the next one that can.
  Status WalkInTurn(std::int32_t first);

  const Contents& captured() const { return captured_; }
  std::vector<StepSpan> TakeSpans() { return std::move(spans_); }  // of the steps that act when issued, and waits

 private:
  struct QueueState {
    Device* device = nullptr;
    int queue = -1;
    std::mutex mutex;         // makes one step's commands follow each other
    std::int64_t events = 0;  // recorded so far
  };
  // What has been issued of a step. Two events are kept: of the last instance and the one before it.
  struct StepState {
    std::int64_t issued = 0;
    std::array<EventPtr, 2> events;
    std::array<std::int64_t, 2> numbers{};  // of the events, in their queue
    bool recorded = false;                  // someone waits for this step
  };
  struct Reached {  // an instance of a step; event null: it has ended, or its queue's order is enough
    EventPtr event;
    std::int64_t number = 0;
  };
  // One thread's view: up to which event of each queue it has waited.
  struct Thread {
    std::int32_t issuer = -1;
    std::vector<std::int64_t> waited;
  };
  struct Cursor {  // an issuer's next step; at the end, `section` is one past the last
    std::size_t section = 0;
    std::int64_t iteration = 0;
    StepId step = 0;
  };
  struct Where {  // of a step
    std::int32_t phase = -1;
    StepId body_begin = -1;  // of the body it is in; -1: not in a body
    std::int64_t times = 1;  // it runs
    BufferId capture = -1;   // fetch this buffer after the step's last run
  };

  StepIssuer(const Schedule* schedule, RunMemory* memory, const WeightFiles* files, const ExecuteOptions* options);
  void LocateSteps();
  void MarkRecorded();
  Status PlaceCaptures();

  Cursor First(std::int32_t issuer) const;
  Cursor Next(Cursor cursor, std::int32_t issuer) const;  // the step after `cursor`'s
  Cursor From(Cursor cursor, std::int32_t issuer) const;  // the first step of the issuer at or after `cursor`
  bool AtEnd(const Cursor& cursor) const { return cursor.section == sections_.size(); }
  bool MayIssue(const Cursor& cursor);  // everything it refers to has been issued
  Status Issue(Thread& thread, StepId id, std::int64_t iteration);
  Status IssueQueued(Thread& thread, StepId id, std::int64_t iteration, Seconds issued);
  Status Command(QueueState& queue, const Step& step, StepId id, const StepTag& tag);
  Status Launch(QueueState& queue, const Step& step, const StepTag& tag);

  // Which instance a reference means; negative: none.
  std::int64_t Instance(StepId from, std::int64_t iteration, const StepRef& ref) const;
  // That instance; nothing when there is none. Blocks until another issuer has issued it.
  Result<std::optional<Reached>> Find(StepId from, std::int64_t iteration, const StepRef& ref);
  Status HostWait(Thread& thread, StepId from, std::int64_t iteration, const StepRef& ref);
  void MarkIssued(StepId id, EventPtr event, std::int64_t number);
  void Fail();
  Seconds Now() const;

  const Schedule* schedule_;
  RunMemory* memory_;
  const WeightFiles* files_;
  const ExecuteOptions* options_;
  Device::Clock::time_point epoch_;
  std::vector<std::unique_ptr<QueueState>> queues_;
  std::vector<std::pair<Section, std::int64_t>> sections_;  // in program order, with their iterations
  std::vector<Where> where_;
  std::vector<std::string> names_;  // of the steps; commands borrow them

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool failed_ = false;
  std::vector<StepState> states_;
  std::vector<StepSpan> spans_;
  Contents captured_;
};

}  // namespace stowage

// The general event loop: any number of issuers into a queue, queues that compete for exclusive resources, shared
// resources. Instants in order; in each one the rounds that engine.h describes. There are few issuers and queues, so
// the next instant is found by looking at all of them. Inside sim/engine only.
#pragma once

#include <tuple>
#include <utility>
#include <vector>

#include "sim/engine/run.h"

namespace stowage::sim {

class Events final : public QueueProgress {
 public:
  Events(const Program& program, Books& books);
  Status Run();

  double Mark(std::int32_t queue) const override {
    return static_cast<double>(queues_[static_cast<std::size_t>(queue)].pushed);
  }
  bool Passed(std::int32_t queue, double mark, double) const override {
    return static_cast<double>(queues_[static_cast<std::size_t>(queue)].ended) >= mark;
  }

 private:
  // A host thread: its next step and what it waits for.
  struct Issuer {
    std::vector<std::vector<StepId>> steps;  // by run
    std::size_t run = 0;
    std::int64_t iteration = 0;
    std::size_t next = 0;
    double clock = 0;
    std::int64_t waited_for = -1;
    StepId blocked_by = -1;  // until `blocked_count` executions of it have ended
    std::int64_t blocked_count = 0;
    StepId waiting = -1;    // the Wait, EmptyCache or Allocate that it is in the middle of
    double issued = 0;      // of `waiting`
    double after_wait = 0;  // seconds that `waiting` takes when it goes on
    std::vector<std::pair<std::int32_t, std::int64_t>> drain;  // queues, until so many of their jobs have ended
  };
  struct Job {
    StepId step = -1;
    std::int64_t iteration = 0;
    std::int64_t seq = 0;
    double issued = 0;
  };
  struct QueueState {
    std::vector<Job> jobs;
    std::size_t head = 0;  // jobs[head] is next or running; all before have ended
    bool running = false;
    bool ready = false;    // the head's dependencies have ended, at ready_at
    std::int32_t met = 0;  // dependencies of the head known to have ended
    double ready_at = 0;
    std::int64_t bind = -1;
    double last_end = 0;
    std::int64_t last_seq = -1;
    std::int64_t ended = 0;
    std::int64_t pushed = 0;
  };
  struct ResourceState {
    bool held = false;
    double released = 0;
    std::int64_t by = -1;  // seq that released it
    std::int32_t sharing = 0;
  };
  // A running job, or the running steps of one Reduce.
  struct Running {
    Job job;  // of a Reduce: its first step
    double end = 0;
    double seconds = 0;  // whole duration at the present sharing
    double left = 1;     // fraction of it still to do at `updated`
    double updated = 0;
    bool shares = false;
  };
  struct Candidate {
    double ready_at;
    double issued;
    std::int64_t seq;
    std::int32_t queue;
    auto Key() const { return std::tie(ready_at, issued, seq); }
  };

  const Op& OpOf(StepId s) const { return program_.ops[static_cast<std::size_t>(s)]; }
  const sim::Run& RunOf(StepId s) const {
    return program_.runs[static_cast<std::size_t>(program_.run_of[static_cast<std::size_t>(s)])];
  }
  QueueState& QueueOf(StepId s) { return queues_[static_cast<std::size_t>(OpOf(s).queue)]; }
  std::int64_t& EndedOf(StepId s) { return ended_[static_cast<std::size_t>(s)]; }

  // Steps that run together with s: its group, or s alone.
  template <class Visit>
  void ForEachMember(StepId s, const Visit& visit) const {
    const std::int32_t group = program_.group_of[static_cast<std::size_t>(s)];
    if (group < 0) return visit(s);
    for (const StepId member : program_.groups[static_cast<std::size_t>(group)]) visit(member);
  }

  std::int64_t CountNeeded(const Dep& dep, std::int64_t iteration) const;
  std::int64_t SeqOf(const Dep& dep, std::int64_t iteration) const;
  StepId NextOf(const Issuer& issuer) const;
  void Advance(Issuer& issuer);
  bool Unblock(Issuer& issuer);
  bool Issue(Issuer& issuer);
  void Act(Issuer& issuer, StepId s);
  void GoOn(Issuer& issuer);
  bool EndAll();
  void End(const Running& running);
  bool IssueAll();
  void Prepare(QueueState& queue);
  bool GrantAll();
  bool Free(StepId s) const;
  void Begin(const Candidate& candidate);
  double SecondsOf(const Job& job) const;
  void Rebalance();
  double NextInstant() const;
  Status Stuck() const;
  void CountPasses();
  void Note(StepId s, std::int64_t seq, std::int64_t iteration, double issued, double start, double end);

  const Program& program_;
  Books& books_;
  Accounts& accounts_;
  std::vector<Issuer> issuers_;
  std::vector<QueueState> queues_;
  std::vector<ResourceState> resources_;
  std::vector<Running> running_;
  std::vector<Candidate> candidates_;
  std::vector<std::int64_t> ended_;  // by step: executions that have ended
  std::int64_t last_seq_ = 0;        // the highest so far
  double now_ = 0;
  bool sharing_changed_ = false;
  bool stopping_ = false;  // out of memory
  Status failed_ = OkStatus();
};

}  // namespace stowage::sim

// The general event loop: any number of issuers into a queue, queues that compete for exclusive resources, shared
// resources. Instants in order; in each one the rounds that engine.h describes. There are few issuers and queues, so
// the next instant is found by looking at all of them.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "sim/engine/run.h"

namespace stowage::sim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

class Events {
 public:
  Events(const Program& program, Books& books);
  Status Run();

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
  void Act(Issuer& issuer, StepId s, std::int64_t seq);
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

Events::Events(const Program& program, Books& books)
    : program_(program),
      books_(books),
      accounts_(*books.accounts),
      issuers_(program.schedule->issuers.size()),
      queues_(static_cast<std::size_t>(program.queues)),
      resources_(program.resources.size()),
      ended_(program.ops.size()) {
  for (Issuer& issuer : issuers_) issuer.steps.resize(program.runs.size());
  for (std::size_t r = 0; r < program.runs.size(); ++r) {
    for (StepId s = program.runs[r].begin; s < program.runs[r].end; ++s) {
      issuers_[static_cast<std::size_t>(OpOf(s).issuer)].steps[r].push_back(s);
    }
  }
  for (Issuer& issuer : issuers_) Advance(issuer);
  running_.reserve(queues_.size());
  candidates_.reserve(queues_.size());
}

// --- issuers

StepId Events::NextOf(const Issuer& issuer) const {
  return issuer.run < issuer.steps.size() ? issuer.steps[issuer.run][issuer.next] : -1;
}

// Skips iterations and runs that have no step of the issuer, from a position that may be past the end.
void Events::Advance(Issuer& issuer) {
  while (issuer.run < issuer.steps.size()) {
    if (issuer.next < issuer.steps[issuer.run].size()) return;
    issuer.next = 0;
    const bool none = issuer.steps[issuer.run].empty();
    if (none || ++issuer.iteration >= program_.runs[issuer.run].iterations) {
      issuer.iteration = 0;
      ++issuer.run;
    }
  }
}

std::int64_t Events::CountNeeded(const Dep& dep, std::int64_t iteration) const {
  switch (dep.which) {
    case Dep::kSame:
      return iteration + 1;
    case Dep::kPrevious:
      return iteration;
    case Dep::kLast:
      return RunOf(dep.step).iterations;
  }
  return 0;
}

std::int64_t Events::SeqOf(const Dep& dep, std::int64_t iteration) const {
  return RunOf(dep.step).Seq(dep.step, CountNeeded(dep, iteration) - 1);
}

// True if the issuer was waiting and goes on now.
bool Events::Unblock(Issuer& issuer) {
  if (issuer.blocked_by >= 0) {
    if (EndedOf(issuer.blocked_by) < issuer.blocked_count) return false;
    const std::int64_t seq = RunOf(issuer.blocked_by).Seq(issuer.blocked_by, issuer.blocked_count - 1);
    const double end = accounts_.At(seq).end;
    if (end >= issuer.clock) {
      issuer.clock = end;
      issuer.waited_for = seq;
    }
    issuer.blocked_by = -1;
  } else {
    for (const auto& [q, count] : issuer.drain) {
      if (queues_[static_cast<std::size_t>(q)].ended < count) return false;
    }
    for (const auto& [q, count] : issuer.drain) {
      const QueueState& queue = queues_[static_cast<std::size_t>(q)];
      if (queue.last_end >= issuer.clock) {
        issuer.clock = queue.last_end;
        issuer.waited_for = queue.last_seq;
      }
    }
    issuer.drain.clear();
  }
  GoOn(issuer);
  return true;
}

// The rest of a Wait or memory act: its end.
void Events::GoOn(Issuer& issuer) {
  if (issuer.waiting >= 0) {
    const StepId s = issuer.waiting;
    issuer.waiting = -1;
    issuer.clock += issuer.after_wait;
    const std::int64_t seq = RunOf(s).Seq(s, EndedOf(s));
    accounts_.At(seq).bind = issuer.waited_for;
    Note(s, seq, EndedOf(s), issuer.issued, issuer.clock, issuer.clock);
    ++EndedOf(s);
  }
}

void Events::Note(StepId s, std::int64_t seq, std::int64_t iteration, double issued, double start, double end) {
  Record& record = accounts_.At(seq);
  record.step = s;
  record.start = start;
  record.end = end;
  accounts_.Reached(RunOf(s).phase, end);
  if (books_.spans != nullptr) {
    books_.spans->push_back({s, iteration, Seconds(issued), Seconds(start), Seconds(end)});
  }
}

bool Events::Issue(Issuer& issuer) {
  const StepId s = NextOf(issuer);
  if (s < 0) return false;
  const Op& op = OpOf(s);
  const double issued = issuer.clock + op.dispatch;
  if (issued > now_) return false;
  const std::int64_t iteration = issuer.iteration;
  const std::int64_t seq = RunOf(s).Seq(s, iteration);
  last_seq_ = std::max(last_seq_, seq);
  issuer.clock = issuer.issued = issued;
  ++issuer.next;
  Advance(issuer);
  switch (op.kind) {
    case OpClass::kJob:
    case OpClass::kReduce: {
      QueueState& queue = QueueOf(s);
      // The queue's issuer is the one to blame while the job is not ready; see Prepare.
      accounts_.At(seq) = {0, 0, issuer.waited_for, s, -1};
      queue.jobs.push_back({s, iteration, seq, issued});
      ++queue.pushed;
      if (op.blocking) {
        issuer.blocked_by = s;
        issuer.blocked_count = iteration + 1;
      }
      return true;
    }
    case OpClass::kWait:
      issuer.waiting = s;
      issuer.after_wait = 0;
      if (op.deps > 0) {
        const Dep& dep = program_.deps[static_cast<std::size_t>(op.first_dep)];
        issuer.blocked_by = CountNeeded(dep, iteration) > 0 ? dep.step : -1;
        issuer.blocked_count = CountNeeded(dep, iteration);
      }
      if (issuer.blocked_by < 0) GoOn(issuer);
      return true;
    case OpClass::kMemory:
      Act(issuer, s, seq);
      return true;
  }
  return true;
}

void Events::Act(Issuer& issuer, StepId s, std::int64_t) {
  const sim::Run& run = RunOf(s);
  const Memory::Outcome outcome = books_.memory->Act(s, run.phase, EndedOf(s), now_);
  if (outcome.state != Memory::Outcome::State::kDone) {
    accounts_.Reached(run.phase, now_);
    books_.out_of_memory = outcome.state == Memory::Outcome::State::kOutOfMemory;
    if (!books_.out_of_memory) failed_ = books_.memory->error();
    stopping_ = true;
    return;
  }
  issuer.waiting = s;
  issuer.after_wait = outcome.seconds;
  if (outcome.synchronises) {
    const std::int32_t pool = PoolOf(*program_.schedule, s);
    for (std::size_t q = 0; q < queues_.size(); ++q) {
      if (queues_[q].pushed == 0 || !QueueOfPool(*program_.schedule, static_cast<std::int32_t>(q), pool)) continue;
      issuer.drain.emplace_back(static_cast<std::int32_t>(q), queues_[q].pushed);
    }
  }
  if (issuer.drain.empty()) GoOn(issuer);
}

bool Events::IssueAll() {
  bool changed = false;
  for (Issuer& issuer : issuers_) {
    while (!stopping_) {
      const bool blocked = issuer.blocked_by >= 0 || !issuer.drain.empty();
      if (blocked ? !Unblock(issuer) : !Issue(issuer)) break;
      changed = true;
    }
  }
  return changed;
}

// --- jobs

// Checks the dependencies of a queue's head.
void Events::Prepare(QueueState& queue) {
  const Job& job = queue.jobs[queue.head];
  const Op& op = OpOf(job.step);
  for (; queue.met < op.deps; ++queue.met) {
    const Dep& dep = program_.deps[static_cast<std::size_t>(op.first_dep + queue.met)];
    if (EndedOf(dep.step) < CountNeeded(dep, job.iteration)) return;
  }
  queue.ready = true;
  queue.ready_at = job.issued;
  queue.bind = accounts_.At(job.seq).bind;
  const auto later = [&queue](double at, std::int64_t seq) {
    if (seq < 0 || at < queue.ready_at) return;
    queue.ready_at = at;
    queue.bind = seq;
  };
  later(queue.last_end, queue.last_seq);
  for (std::int32_t d = op.first_dep; d < op.first_dep + op.deps; ++d) {
    const Dep& dep = program_.deps[static_cast<std::size_t>(d)];
    if (CountNeeded(dep, job.iteration) <= 0) continue;
    const std::int64_t seq = SeqOf(dep, job.iteration);
    later(accounts_.At(seq).end, seq);
  }
}

bool Events::GrantAll() {
  candidates_.clear();
  for (QueueState& queue : queues_) {
    if (!queue.running && !queue.ready && queue.head < queue.jobs.size()) Prepare(queue);
  }
  for (std::size_t q = 0; q < queues_.size(); ++q) {
    const QueueState& queue = queues_[q];
    if (queue.running || !queue.ready || queue.ready_at > now_) continue;
    const Job& job = queue.jobs[queue.head];
    Candidate candidate{queue.ready_at, job.issued, job.seq, static_cast<std::int32_t>(q)};
    bool all = true;
    bool first = true;
    ForEachMember(job.step, [&](StepId member) {  // a Reduce: as late as its last step, at the place of its first
      const QueueState& other = QueueOf(member);
      if (member < job.step) first = false;
      if (!all || !other.ready || other.ready_at > now_ || other.jobs[other.head].step != member) {
        all = false;
        return;
      }
      candidate.ready_at = std::max(candidate.ready_at, other.ready_at);
      candidate.issued = std::max(candidate.issued, other.jobs[other.head].issued);
    });
    if (all && first) candidates_.push_back(candidate);
  }
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.Key() < b.Key(); });
  bool changed = false;
  for (const Candidate& candidate : candidates_) {
    const QueueState& queue = queues_[static_cast<std::size_t>(candidate.queue)];
    if (!Free(queue.jobs[queue.head].step)) continue;
    Begin(candidate);
    changed = true;
  }
  return changed;
}

bool Events::Free(StepId s) const {
  bool free = true;
  ForEachMember(s, [&](StepId member) {
    for (const std::int16_t r : OpOf(member).resources) {
      if (r >= 0 && resources_[static_cast<std::size_t>(r)].held) free = false;
    }
  });
  return free;
}

void Events::Begin(const Candidate& candidate) {
  const Job job =
      queues_[static_cast<std::size_t>(candidate.queue)].jobs[queues_[static_cast<std::size_t>(candidate.queue)].head];
  // What let it start: the dependency that ended last, or the holder of a resource if that was later still.
  double at = -1;
  Record bound{.start = now_};
  ForEachMember(job.step, [&](StepId member) {
    const QueueState& queue = QueueOf(member);
    if (queue.ready_at > at) {
      at = queue.ready_at;
      bound.bind = queue.bind;
    }
  });
  ForEachMember(job.step, [&](StepId member) {
    for (const std::int16_t r : OpOf(member).resources) {
      if (r < 0 || program_.resources[static_cast<std::size_t>(r)]->shared) continue;
      const ResourceState& resource = resources_[static_cast<std::size_t>(r)];
      if (resource.by < 0 || resource.released <= at) continue;
      at = resource.released;
      bound.bind = resource.by;
      bound.via = r;
    }
  });
  Running running{.job = job, .updated = now_};
  ForEachMember(job.step, [&](StepId member) {
    const Op& op = OpOf(member);
    QueueState& queue = QueueOf(member);
    queue.running = true;
    Record& record = accounts_.At(queue.jobs[queue.head].seq);
    record = bound;
    record.step = member;
    accounts_.Start(op, record, last_seq_);
    for (const std::int16_t r : op.resources) {
      if (r < 0) break;
      ResourceState& resource = resources_[static_cast<std::size_t>(r)];
      if (program_.resources[static_cast<std::size_t>(r)]->shared) {
        ++resource.sharing;
      } else {
        resource.held = true;
      }
    }
    running.shares |= op.shares;
  });
  sharing_changed_ |= running.shares;
  running.seconds = SecondsOf(job);
  running.end = now_ + running.seconds;
  running_.push_back(running);
}

// Whole duration at the present number of sharers.
double Events::SecondsOf(const Job& job) const {
  double longest = 0;
  ForEachMember(job.step, [&](StepId member) {
    const Op& op = OpOf(member);
    if (!op.shares) {
      longest = std::max(longest, op.varies ? program_.DurationOf(member, job.iteration) : op.duration);
      return;
    }
    for (const std::int16_t r : op.resources) {
      if (r < 0) break;
      const std::int32_t sharing = resources_[static_cast<std::size_t>(r)].sharing;
      longest = std::max(longest, program_.SecondsOn(member, job.iteration, r, std::max(sharing, 1)));
    }
  });
  return longest;
}

// Gives every sharing job its new end.
void Events::Rebalance() {
  sharing_changed_ = false;
  for (Running& running : running_) {
    if (!running.shares) continue;
    const double seconds = SecondsOf(running.job);
    if (seconds == running.seconds) continue;
    if (running.seconds > 0) running.left = std::max(0.0, running.left - (now_ - running.updated) / running.seconds);
    running.updated = now_;
    running.seconds = seconds;
    running.end = now_ + running.left * seconds;
  }
}

bool Events::EndAll() {
  bool changed = false;
  for (std::size_t i = 0; i < running_.size();) {
    if (running_[i].end > now_) {
      ++i;
      continue;
    }
    const Running ended = running_[i];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    End(ended);
    changed = true;
  }
  return changed;
}

void Events::End(const Running& running) {
  ForEachMember(running.job.step, [&](StepId member) {
    const Op& op = OpOf(member);
    QueueState& queue = QueueOf(member);
    const Job& job = queue.jobs[queue.head];
    for (const std::int16_t r : op.resources) {
      if (r < 0) break;
      ResourceState& resource = resources_[static_cast<std::size_t>(r)];
      if (program_.resources[static_cast<std::size_t>(r)]->shared) {
        --resource.sharing;
      } else {
        resource.held = false;
        resource.released = now_;
        resource.by = job.seq;
      }
    }
    Note(member, job.seq, job.iteration, job.issued, accounts_.At(job.seq).start, now_);
    accounts_.End(op, now_);
    queue.last_end = now_;
    queue.last_seq = job.seq;
    queue.running = queue.ready = false;
    queue.met = 0;
    ++queue.ended;
    ++EndedOf(member);
    if (++queue.head == queue.jobs.size()) {
      queue.jobs.clear();
      queue.head = 0;
    }
  });
  sharing_changed_ |= running.shares;
}

// --- time

double Events::NextInstant() const {
  double next = kNever;
  for (const Running& running : running_) next = std::min(next, running.end);
  for (const QueueState& queue : queues_) {
    if (queue.ready && !queue.running && queue.ready_at > now_) next = std::min(next, queue.ready_at);
  }
  if (stopping_) return next;
  for (const Issuer& issuer : issuers_) {
    const StepId s = NextOf(issuer);
    if (s < 0 || issuer.blocked_by >= 0 || !issuer.drain.empty()) continue;
    next = std::min(next, issuer.clock + OpOf(s).dispatch);
  }
  return next;
}

Status Events::Run() {
  while (now_ < kNever) {
    bool changed = true;
    while (changed) {
      changed = EndAll();
      changed |= IssueAll();
      changed |= GrantAll();
      if (sharing_changed_) Rebalance();
    }
    if (!failed_) return failed_;
    now_ = NextInstant();
  }
  CountPasses();
  return stopping_ ? OkStatus() : Stuck();
}

void Events::CountPasses() {
  for (const auto& run : program_.runs) {
    std::int64_t complete = run.iterations;
    for (StepId s = run.begin; s < run.end; ++s) complete = std::min(complete, EndedOf(s));
    for (std::int64_t i = 0; i < complete; ++i) accounts_.Completed(run);
  }
}

Status Events::Stuck() const {
  const auto never = [this](StepId s, const char* what) {
    return Error{ErrorCode::kInvalidInput, fmt::format("step {} '{}' never {}: what it waits for never ends", s,
                                                       program_.schedule->StepName(s), what)};
  };
  for (const QueueState& queue : queues_) {
    if (queue.head < queue.jobs.size()) return never(queue.jobs[queue.head].step, "starts");
  }
  for (const Issuer& issuer : issuers_) {
    if (issuer.waiting >= 0) return never(issuer.waiting, "ends");
    if (NextOf(issuer) >= 0) return never(NextOf(issuer), "is issued");
  }
  return OkStatus();
}

}  // namespace

Status RunEvents(const Program& program, Books& books) { return Events(program, books).Run(); }

}  // namespace stowage::sim

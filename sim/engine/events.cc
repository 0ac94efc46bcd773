// The event loop's jobs and its time.
#include "sim/engine/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace stowage::sim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

}  // namespace

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
  books.progress->Follow(this);
  running_.reserve(queues_.size());
  candidates_.reserve(queues_.size());
}

// Checks the dependencies of a queue's head.
void Events::Prepare(QueueState& queue) {
  const Job& job = queue.jobs[queue.head];
  const Op& op = OpOf(job.step);
  for (; queue.met < op.deps; ++queue.met) {
    const Dep& dep = program_.deps[static_cast<std::size_t>(op.first_dep) + static_cast<std::size_t>(queue.met)];
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

Status RunEvents(const Program& program, Books& books) { return Events(program, books).Run(); }

}  // namespace stowage::sim

// The event loop's host threads: issuing, waiting, acting on memory.
#include <algorithm>

#include "sim/engine/events.h"

namespace stowage::sim {

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
  accounts_.Ended(end);
  if (program_.ops[static_cast<std::size_t>(s)].ends_phase) accounts_.Reached(RunOf(s).phase, end);
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
      Act(issuer, s);
      return true;
  }
  return true;
}

void Events::Act(Issuer& issuer, StepId s) {
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
  issuer.after_wait = outcome.DriverSeconds(books_.machine->dispatch);
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

}  // namespace stowage::sim

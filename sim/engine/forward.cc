// One pass over the unrolled schedule in its own order, for programs in which every queue has one issuer, every
// exclusive resource serves one queue, no resource is shared and memory acts come from one issuer. Then nothing
// competes: the order within each queue and resource is the order of the list, a resource is free when its queue is,
// and a step refers only to steps before it in the list, so that its start is a maximum of times already known. No
// events, no heap.
#include <algorithm>

#include "sim/engine/run.h"

namespace stowage::sim {
namespace {

struct Moment {
  double at = 0;
  std::int64_t seq = -1;  // the execution that ended then
};

// kBooks: of everything. Otherwise of the phases' ends, and what the allocators did is replayed.
template <bool kBooks>
class Forward final : public QueueProgress {
 public:
  Forward(const Program& program, Books& books)
      : program_(program),
        books_(books),
        accounts_(*books.accounts),
        issuers_(program.schedule->issuers.size()),
        queues_(static_cast<std::size_t>(program.queues)),
        ends_(2 * program.ops.size()) {
    std::size_t largest = 0;
    for (const auto& group : program.groups) largest = std::max(largest, group.size());
    ready_.reserve(largest);
    books.progress->Follow(this);
  }

  double Mark(std::int32_t queue) const override { return queues_[static_cast<std::size_t>(queue)].at; }
  bool Passed(std::int32_t, double mark, double at) const override { return mark <= at; }

  Status Run() {
    for (const auto& run : program_.runs) {
      seq_ = run.first_seq;
      for (std::int64_t i = 0; i < run.iterations; ++i) {
        for (StepId s = run.begin; s < run.end; ++s, ++seq_) {
          if (!Execute(s, i, run)) return ended_;
        }
        accounts_.Completed(run);
      }
    }
    return OkStatus();
  }

 private:
  struct Issuer {
    double clock = 0;
    std::int64_t waited_for = -1;  // seq of the last execution it was blocked by
  };
  struct Start {
    double at;
    std::int64_t bind;
  };
  struct Ready {
    StepId step;
    std::int64_t seq;
    double issued;
    Start start;
  };

  static void Later(Start& start, const Moment& moment) {
    if (moment.at < start.at || moment.seq < 0) return;
    start = {moment.at, moment.seq};
  }
  const Moment& End(const Dep& dep) const {
    return ends_[2 * static_cast<std::size_t>(dep.step) + (dep.latest ? 0 : 1)];
  }

  Start EarliestStart(const Op& op, double issued) const {
    Start start{issued, issuers_[static_cast<std::size_t>(op.issuer)].waited_for};
    Later(start, queues_[static_cast<std::size_t>(op.queue)]);
    for (std::int32_t d = op.first_dep; d < op.first_dep + op.deps; ++d) {
      Later(start, End(program_.deps[static_cast<std::size_t>(d)]));
    }
    return start;
  }

  void Note(StepId s, std::int64_t seq, std::int64_t iteration, std::int32_t phase, double issued, const Start& start,
            double end) {
    if constexpr (kBooks) accounts_.At(seq) = {start.at, end, start.bind, s, -1};
    Moment& latest = ends_[2 * static_cast<std::size_t>(s)];
    ends_[2 * static_cast<std::size_t>(s) + 1] = latest;
    latest = {end, seq};
    accounts_.Ended(end);
    if (program_.ops[static_cast<std::size_t>(s)].ends_phase) accounts_.Reached(phase, end);
    if constexpr (kBooks) {
      if (books_.spans != nullptr) {
        books_.spans->push_back({s, iteration, Seconds(issued), Seconds(start.at), Seconds(end)});
      }
    }
  }

  bool Execute(StepId s, std::int64_t iteration, const sim::Run& run) {
    const Op& op = program_.ops[static_cast<std::size_t>(s)];
    Issuer& issuer = issuers_[static_cast<std::size_t>(op.issuer)];
    const double issued = issuer.clock + op.dispatch;
    issuer.clock = issued;
    switch (op.kind) {
      case OpClass::kJob: {
        const double duration = op.varies ? program_.DurationOf(s, iteration) : op.duration;
        RunJob(op, s, seq_, iteration, run.phase, issued, EarliestStart(op, issued), duration);
        return true;
      }
      case OpClass::kReduce:
        ready_.push_back({s, seq_, issued, EarliestStart(op, issued)});
        if (op.group_last) RunGroup(iteration, run.phase);
        return true;
      case OpClass::kWait:
        Wait(op, s, iteration, run.phase, issued);
        return true;
      case OpClass::kMemory:
        return Act(op, s, iteration, run.phase, issued);
    }
    return true;
  }

  void RunJob(const Op& op, StepId s, std::int64_t seq, std::int64_t iteration, std::int32_t phase, double issued,
              const Start& start, double duration) {
    const double end = start.at + duration;
    Note(s, seq, iteration, phase, issued, start, end);
    if constexpr (kBooks) {
      accounts_.Start(op, accounts_.At(seq), seq_);
      accounts_.End(op, end);
    }
    queues_[static_cast<std::size_t>(op.queue)] = {end, seq};
    if (!op.blocking) return;
    Issuer& issuer = issuers_[static_cast<std::size_t>(op.issuer)];
    issuer.clock = end;
    issuer.waited_for = seq;
  }

  void RunGroup(std::int64_t iteration, std::int32_t phase) {
    Start start = ready_.front().start;
    double duration = 0;
    for (const Ready& member : ready_) {
      if (member.start.at > start.at) start = member.start;
      const Op& op = program_.ops[static_cast<std::size_t>(member.step)];
      duration = std::max(duration, op.varies ? program_.DurationOf(member.step, iteration) : op.duration);
    }
    for (const Ready& member : ready_) {
      RunJob(program_.ops[static_cast<std::size_t>(member.step)], member.step, member.seq, iteration, phase,
             member.issued, start, duration);
    }
    ready_.clear();
  }

  void Wait(const Op& op, StepId s, std::int64_t iteration, std::int32_t phase, double issued) {
    Issuer& issuer = issuers_[static_cast<std::size_t>(op.issuer)];
    Start until{issued, issuer.waited_for};
    if (op.deps > 0) Later(until, End(program_.deps[static_cast<std::size_t>(op.first_dep)]));
    issuer = {until.at, until.bind};
    Note(s, seq_, iteration, phase, issued, until, until.at);
  }

  bool Act(const Op& op, StepId s, std::int64_t iteration, std::int32_t phase, double issued) {
    Issuer& issuer = issuers_[static_cast<std::size_t>(op.issuer)];
    const Memory::Outcome outcome = OutcomeOf(s, iteration, phase, issued);
    if (outcome.state != Memory::Outcome::State::kDone) {
      accounts_.Reached(phase, issued);
      books_.out_of_memory = outcome.state == Memory::Outcome::State::kOutOfMemory;
      if (!books_.out_of_memory) ended_ = books_.memory->error();
      return false;
    }
    Start until{issued, issuer.waited_for};
    if (outcome.synchronises) {
      const std::int32_t pool = PoolOf(*program_.schedule, s);
      for (std::size_t q = 0; q < queues_.size(); ++q) {
        if (QueueOfPool(*program_.schedule, static_cast<std::int32_t>(q), pool)) Later(until, queues_[q]);
      }
    }
    issuer = {until.at + outcome.DriverSeconds(books_.machine->dispatch), until.bind};
    Note(s, seq_, iteration, phase, issued, {issuer.clock, issuer.waited_for}, issuer.clock);
    return true;
  }

  Memory::Outcome OutcomeOf(StepId s, std::int64_t iteration, std::int32_t phase, double issued) {
    if constexpr (!kBooks) {
      const std::vector<AllocatorActs::Act>& acts = books_.replayed->acts;
      if (next_act_ == acts.size() || acts[next_act_].execution != seq_) return {};
      const AllocatorActs::Act& act = acts[next_act_++];
      return {.device_mallocs = act.device_mallocs, .device_frees = act.device_frees, .synchronises = act.synchronises};
    }
    const Memory::Outcome outcome = books_.memory->Act(s, phase, iteration, issued);
    if (books_.acts != nullptr && outcome.Delays()) {
      books_.acts->push_back({seq_, outcome.device_mallocs, outcome.device_frees, outcome.synchronises});
    }
    return outcome;
  }

  const Program& program_;
  Books& books_;
  Accounts& accounts_;
  std::size_t next_act_ = 0;  // that is replayed
  std::vector<Issuer> issuers_;
  std::vector<Moment> queues_;
  std::vector<Moment> ends_;  // by step: its latest end, and the one before
  std::vector<Ready> ready_;  // members of the Reduce being gathered
  std::int64_t seq_ = 0;
  Status ended_ = OkStatus();
};

}  // namespace

Status RunForward(const Program& program, Books& books) { return Forward<true>(program, books).Run(); }
Status RunTimes(const Program& program, Books& books) { return Forward<false>(program, books).Run(); }

}  // namespace stowage::sim

// Executes a schedule with vector clocks (see check.h). Longer than most files: clocks, memory and loops share state.
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "planner/schedule/check_parts.h"
#include "planner/schedule/interval_map.h"

namespace stowage {
namespace {

using Clock = std::span<std::uint32_t>;  // by component: queues, then issuers

void JoinInto(Clock into, std::span<const std::uint32_t> from) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

// An event in an issuer's program order.
struct Issue {
  std::int32_t issuer = -1;
  std::uint32_t sequence = 0;
  StepId step = -1;
  std::int64_t iteration = -1;
};

// One execution of a step in a queue, which touches bytes through a buffer.
struct Access {
  std::int32_t queue = -1;     // -1: known to have ended by everything that may still touch these bytes
  std::uint32_t sequence = 0;  // the how-many-th step of its queue
  StepId step = -1;
  std::int64_t iteration = -1;
  BufferId leaf = -1;  // -1: there before the start, through any buffer
};

// Who wrote each byte of an allocation last, and who has read it since: per queue the last one.
struct Contents {
  IntervalMap<Access> writers;
  std::vector<std::pair<std::int32_t, IntervalMap<Access>>> readers;  // by queue

  void Clear() {
    writers.Clear();
    readers.clear();
  }
  void AddReader(std::int64_t begin, std::int64_t end, const Access& reader) {
    for (auto& [queue, map] : readers) {
      if (queue == reader.queue) return map.Assign(begin, end, reader);
    }
    readers.emplace_back(reader.queue, IntervalMap<Access>()).second.Assign(begin, end, reader);
  }
  void SetWriter(std::int64_t begin, std::int64_t end, const Access& writer) {
    writers.Assign(begin, end, writer);
    for (auto& [queue, map] : readers) map.Erase(begin, end);
  }
};

// Keeps the last access per queue.
void KeepLast(std::vector<Access>& accesses, const Access& access) {
  for (Access& a : accesses) {
    if (a.queue != access.queue) continue;
    a = access;
    return;
  }
  accesses.push_back(access);
}

struct Root {
  bool live = false;
  bool initial = false;
  bool ever_written = false;         // by some step, statically: otherwise nothing can go wrong with its bytes
  bool moves = false;                // some slice of it moves with the iteration
  std::vector<std::int32_t> queues;  // that touch it, statically
  std::int64_t bytes = 0;            // as allocated
  Issue allocated, freed;            // the last ones
  std::int32_t first_queue = -1;
  std::vector<Access> users;  // the last per queue since allocated
  std::vector<std::int32_t> recorded;
  Contents contents;
};

struct PoolState {
  __int128 live = 0;  // in list order; wide: a hostile schedule has many large buffers
  struct Freed {
    Issue at;
    std::int64_t bytes;
  };
  std::vector<Freed> unsure;  // freed by one issuer, perhaps not yet when another allocates
};

class OrderCheck {
 public:
  OrderCheck(const Schedule& s, const CheckOptions& options, Problems& problems)
      : s_(s), options_(options), problems_(problems) {}

  void Run() {
    Prepare();
    StartMemory();
    std::int64_t executions = 0;
    for (std::size_t p = 0; p < s_.phases.size() && !problems_.full(); ++p) {
      const Phase& phase = s_.phases[p];
      RunSection(phase.prologue, -1);
      const std::int64_t steps = phase.body.end - phase.body.begin;
      const bool all =
          phase.iterations <= 5 || steps == 0 || phase.iterations <= (options_.max_executions - executions) / steps;
      executions += steps * (all ? phase.iterations : 5);
      if (all) {
        for (std::int64_t i = 0; steps > 0 && i < phase.iterations && !problems_.full(); ++i) RunSection(phase.body, i);
      } else {
        for (std::int64_t i = 0; i < 3 && !problems_.full(); ++i) RunSection(phase.body, i);
        Skip(phase);
        for (std::int64_t i = phase.iterations - 2; i < phase.iterations && !problems_.full(); ++i)
          RunSection(phase.body, i);
      }
      RunSection(phase.epilogue, -1);
    }
  }

 private:
  // --- what can be known beforehand --------------------------------------------------------------------------------

  void Prepare() {
    queues_ = s_.queues.size();
    clocks_ = queues_ + s_.issuers.size();
    places_ = PlacesOf(s_);
    queue_clock_.assign(queues_ * clocks_, 0);
    queue_last_.assign(queues_, {});
    issuer_clock_.assign(s_.issuers.size() * clocks_, 0);
    slot_.assign(s_.steps.size(), -1);
    runs_.assign(s_.steps.size(), 0);
    last_sequence_.assign(s_.steps.size(), 0);
    const auto remember = [&](StepRef ref) {
      if (slot_[ref.step] < 0) slot_[ref.step] = slots_++;
    };
    for (const Step& t : s_.steps) {
      for (const StepRef& ref : t.after) remember(ref);
      if (t.kind == StepKind::kWait) remember(t.target);
    }
    ends_.assign(static_cast<std::size_t>(slots_) * 2 * clocks_, 0);
    root_of_.resize(s_.buffers.size());
    base_.resize(s_.buffers.size());
    for (std::size_t b = 0; b < s_.buffers.size(); ++b) {  // parents come first
      const Buffer& buffer = s_.buffers[b];
      root_of_[b] = buffer.parent < 0 ? static_cast<BufferId>(b) : root_of_[buffer.parent];
      base_[b] = buffer.parent < 0 ? 0 : base_[buffer.parent] + buffer.offset.value();
    }
    roots_.resize(s_.buffers.size());
    for (const Step& t : s_.steps) {
      for (const Slice& slice : t.reads) Touches(t, slice);
      for (const Slice& slice : t.writes) {
        Touches(t, slice);
        roots_[root_of_[slice.buffer]].ever_written = true;
      }
    }
  }

  void Touches(const Step& t, const Slice& slice) {
    Root& root = roots_[root_of_[slice.buffer]];
    root.moves |= !slice.offset.constant() || !slice.bytes.constant();
    if (std::find(root.queues.begin(), root.queues.end(), t.queue) == root.queues.end()) root.queues.push_back(t.queue);
  }

  void StartMemory() {
    pools_.resize(s_.pools.size());
    for (std::size_t b = 0; b < s_.buffers.size(); ++b) {
      const Buffer& buffer = s_.buffers[b];
      if (!buffer.initial || buffer.parent >= 0) continue;
      Root& root = roots_[b];
      root.live = root.initial = true;
      root.bytes = buffer.bytes.base;
      root.contents.SetWriter(0, root.bytes, Access{});
      if (buffer.file < 0) pools_[buffer.pool].live += root.bytes;
    }
    for (std::size_t p = 0; p < pools_.size(); ++p) {
      if (!Limited(p) || pools_[p].live <= s_.pools[p].budget.value()) continue;
      problems_.Add({ErrorCode::kOutOfMemory, -1, -1,
                     fmt::format("pool '{}': its initial buffers need {} bytes, its budget is {}", s_.pools[p].name,
                                 pools_[p].live, s_.pools[p].budget.value())});
    }
  }

  bool Limited(std::size_t pool) const {
    return s_.pools[pool].allocator != Allocator::kTorchCaching && s_.pools[pool].budget > Bytes(0);
  }

  // --- text ----------------------------------------------------------------------------------------------------------

  std::string Named(StepId step, std::int64_t iteration) const {
    std::string text = fmt::format("step {} '{}'", step, s_.StepName(step));
    if (iteration >= 0) text += fmt::format(" of iteration {}", iteration);
    return text;
  }
  std::string Range(BufferId buffer, std::int64_t begin, std::int64_t end) const {
    return fmt::format("bytes [{}, {}) of '{}'", begin - base_[buffer], end - base_[buffer], s_.buffers[buffer].name);
  }
  template <class... Args>
  void Bad(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    if (problems_.full()) return;
    problems_.Add({code, step_, iteration_,
                   fmt::format("phase '{}': {} {}", s_.phases[places_[step_].phase].name, Named(step_, iteration_),
                               fmt::format(format, std::forward<Args>(args)...))});
  }

  // --- clocks
  // ----------------------------------------------------------------------------------------------------------

  Clock OfQueue(std::size_t q) { return Clock(queue_clock_).subspan(q * clocks_, clocks_); }
  Clock OfIssuer(std::size_t i) { return Clock(issuer_clock_).subspan(i * clocks_, clocks_); }
  Clock EndOf(StepId step, std::uint32_t run) {
    return Clock(ends_).subspan((static_cast<std::size_t>(slot_[step]) * 2 + run % 2) * clocks_, clocks_);
  }

  // The end of a reference joins `clock`; one that means nothing (not run yet) adds nothing.
  void JoinEnd(Clock clock, StepRef ref) {
    const std::uint32_t runs = ref.back == 1 ? runs_[step_] : runs_[ref.step];  // one body: all have run as often
    if (runs > 0) JoinInto(clock, EndOf(ref.step, runs - 1));
  }

  void Ended(StepId step, Clock end) {
    if (slot_[step] >= 0) std::copy(end.begin(), end.end(), EndOf(step, runs_[step]).begin());
    ++runs_[step];
  }

  bool Knows(Clock clock, const Access& a) const { return a.queue < 0 || clock[a.queue] >= a.sequence; }
  bool Knows(Clock clock, const Issue& at) const { return at.issuer < 0 || clock[queues_ + at.issuer] >= at.sequence; }

  // --- execution -----------------------------------------------------------------------------------------------------

  void RunSection(const Section& section, std::int64_t iteration) {
    iteration_ = iteration;
    for (StepId id = section.begin; id < section.end && !problems_.full();) {
      StepId end = id + 1;
      if (s_.steps[id].kind == StepKind::kReduce) {
        while (end < section.end && s_.steps[end].kind == StepKind::kReduce &&
               s_.steps[end].group == s_.steps[id].group) {
          ++end;
        }
      }
      if (s_.steps[id].queue >= 0 && s_.steps[id].kind != StepKind::kRecordStream) {
        RunQueued(id, end);
      } else {
        Act(id);
      }
      id = end;
    }
  }

  std::int64_t At() const { return std::max<std::int64_t>(iteration_, 0); }

  Issue IssueNow(StepId id) {
    step_ = id;
    const std::int32_t issuer = s_.steps[id].issuer;
    const std::uint32_t sequence = ++OfIssuer(issuer)[queues_ + issuer];
    return {issuer, sequence, id, iteration_};
  }

  // One step of a queue, or all parts of a Reduce.
  void RunQueued(StepId begin, StepId end) {
    for (StepId id = begin; id < end; ++id) {
      const Step& t = s_.steps[id];
      const Issue issue = IssueNow(id);
      Clock clock = OfQueue(t.queue);
      Issue& last = queue_last_[t.queue];
      if (!Knows(OfIssuer(t.issuer), last)) {
        Bad(ErrorCode::kInvalidInput, "enters queue '{}' after {}, which issuer '{}' issues: nothing orders the two",
            s_.queues[t.queue].name, Named(last.step, last.iteration), s_.issuers[last.issuer].name);
      }
      last = issue;
      JoinInto(clock, OfIssuer(t.issuer));
      for (const StepRef& ref : t.after) JoinEnd(clock, ref);
    }
    for (StepId id = begin + 1; id < end; ++id) JoinInto(OfQueue(s_.steps[begin].queue), OfQueue(s_.steps[id].queue));
    const Clock joint = OfQueue(s_.steps[begin].queue);
    for (StepId id = begin; id < end; ++id) {
      JoinInto(OfQueue(s_.steps[id].queue), joint);
      for (const Slice& slice : s_.steps[id].reads) Read(id, slice);
    }
    for (StepId id = begin; id < end; ++id) {
      for (const Slice& slice : s_.steps[id].writes) Write(id, slice);
    }
    for (StepId id = begin; id < end; ++id) {
      const std::int32_t q = s_.steps[id].queue;
      joint[q] = last_sequence_[id] = OfQueue(q)[q] + 1;
    }
    for (StepId id = begin; id < end; ++id) {
      const Step& t = s_.steps[id];
      JoinInto(OfQueue(t.queue), joint);
      Ended(id, joint);
      if (t.blocking) JoinInto(OfIssuer(t.issuer), joint);
    }
  }

  void Act(StepId id) {
    const Step& t = s_.steps[id];
    const Issue issue = IssueNow(id);
    const Clock clock = OfIssuer(t.issuer);
    switch (t.kind) {
      case StepKind::kWait:
        JoinEnd(clock, t.target);
        break;
      case StepKind::kAllocate:
        Allocate(t.buffer, issue, clock);
        break;
      case StepKind::kFree:
        Free(t.buffer, issue, clock);
        break;
      case StepKind::kRecordStream:
        RecordStream(t, clock);
        break;
      default:
        break;
    }
    Ended(id, clock);
  }

  // --- memory
  // ----------------------------------------------------------------------------------------------------------

  void Allocate(BufferId buffer, const Issue& issue, Clock clock) {
    Root& root = roots_[buffer];
    const Buffer& b = s_.buffers[buffer];
    if (root.live) {
      return Bad(ErrorCode::kInvalidInput, "allocates '{}' again; {} did and nothing freed it since", b.name,
                 Named(root.allocated.step, root.allocated.iteration));
    }
    if (!Knows(clock, root.freed)) {
      Bad(ErrorCode::kInvalidInput, "allocates '{}' again, but nothing orders it after {}", b.name,
          Named(root.freed.step, root.freed.iteration));
    }
    root.live = true;
    root.bytes = b.bytes.at(At()).value();
    root.allocated = issue;
    root.first_queue = -1;
    root.users.clear();
    root.recorded.clear();
    root.contents.Clear();
    Charge(b, root.bytes, clock);
  }

  void Charge(const Buffer& b, std::int64_t bytes, Clock clock) {
    PoolState& pool = pools_[b.pool];
    pool.live += bytes;
    __int128 worst = pool.live;
    std::erase_if(pool.unsure, [&](const PoolState::Freed& f) { return KnownToAllIssuers(f.at); });
    for (const PoolState::Freed& f : pool.unsure) worst += Knows(clock, f.at) ? 0 : f.bytes;
    if (!Limited(b.pool) || worst <= s_.pools[b.pool].budget.value()) return;
    Bad(ErrorCode::kOutOfMemory, "needs {} bytes in pool '{}' for '{}', which has {} left of {}", bytes,
        s_.pools[b.pool].name, b.name, s_.pools[b.pool].budget.value() - (worst - bytes),
        s_.pools[b.pool].budget.value());
  }

  bool KnownToAllIssuers(const Issue& at) {
    for (std::size_t i = 0; i < s_.issuers.size(); ++i) {
      if (!Knows(OfIssuer(i), at)) return false;
    }
    return true;
  }

  bool CheckLive(BufferId buffer, Clock clock, const char* verb) {
    const Root& root = roots_[buffer];
    const std::string& name = s_.buffers[buffer].name;
    if (!root.live && root.freed.step >= 0) {
      Bad(ErrorCode::kInvalidInput, "{} '{}', which {} has freed", verb, name,
          Named(root.freed.step, root.freed.iteration));
    } else if (!root.live) {
      Bad(ErrorCode::kInvalidInput, "{} '{}', which is not allocated", verb, name);
    } else if (!root.initial && !Knows(clock, root.allocated)) {
      Bad(ErrorCode::kInvalidInput, "{} '{}', but nothing orders it after {}", verb, name,
          Named(root.allocated.step, root.allocated.iteration));
    }
    return root.live;
  }

  void Free(BufferId buffer, const Issue& issue, Clock clock) {
    Root& root = roots_[buffer];
    const Buffer& b = s_.buffers[buffer];
    if (!CheckLive(buffer, clock, "frees")) return;
    const bool torch = s_.pools[b.pool].allocator == Allocator::kTorchCaching;
    for (const Access& user : root.users) {
      if (Knows(clock, user)) continue;
      const bool recorded = std::find(root.recorded.begin(), root.recorded.end(), user.queue) != root.recorded.end();
      if (torch && (user.queue == root.first_queue || recorded)) continue;
      // What is allocated next in its place is used behind all that its queue has done.
      if (torch && root.first_queue >= 0 && Knows(OfQueue(root.first_queue), user)) continue;
      if (torch) {
        Bad(ErrorCode::kInvalidInput,
            "frees '{}', whose user {} is on queue '{}': not the one it was first used on, not recorded, and nothing "
            "orders its end before",
            b.name, Named(user.step, user.iteration), s_.queues[user.queue].name);
      } else {
        Bad(ErrorCode::kInvalidInput, "frees '{}', but nothing orders it after the end of {}", b.name,
            Named(user.step, user.iteration));
      }
    }
    root.live = root.initial = false;
    root.freed = issue;
    PoolState& pool = pools_[b.pool];
    pool.live -= root.bytes;
    if (s_.issuers.size() > 1) pool.unsure.push_back({issue, root.bytes});
  }

  void RecordStream(const Step& t, Clock clock) {
    if (CheckLive(t.buffer, clock, "records")) roots_[t.buffer].recorded.push_back(t.queue);
  }

  // Where a slice lies in its root now; false when it is not there to be touched.
  bool Locate(StepId id, const Slice& slice, const char* verb, std::int64_t& begin, std::int64_t& end) {
    step_ = id;
    const std::int32_t queue = s_.steps[id].queue;
    const BufferId top = root_of_[slice.buffer];
    Root& root = roots_[top];
    begin = base_[slice.buffer] + slice.offset.at(At()).value();
    end = begin + slice.bytes.at(At()).value();
    if (!CheckLive(top, OfQueue(queue), verb)) return false;
    if (end > root.bytes) {
      Bad(ErrorCode::kInvalidInput, "{} {}, but it was allocated with {}", verb, Range(slice.buffer, begin, end),
          root.bytes);
      return false;
    }
    if (root.first_queue < 0 && !ArrivesFromADevice(s_.steps[id], top)) root.first_queue = queue;
    KeepLast(root.users, Me(id, slice.buffer));
    return begin < end && (root.ever_written || !root.initial);
  }

  // Whether the step copies into `root` from another device's memory.
  bool ArrivesFromADevice(const Step& t, BufferId root) const {
    if (t.kind != StepKind::kCopy || root_of_[t.writes[0].buffer] != root) return false;
    const std::int32_t from = s_.buffers[root_of_[t.reads[0].buffer]].pool, to = s_.buffers[root].pool;
    return from != to && s_.pools[from].allocator == Allocator::kTorchCaching;
  }

  Access Me(StepId id, BufferId leaf) {
    const std::int32_t queue = s_.steps[id].queue;
    return {queue, OfQueue(queue)[queue] + 1, id, iteration_, leaf};
  }

  void Read(StepId id, const Slice& slice) {
    std::int64_t begin = 0, end = 0;
    if (!Locate(id, slice, "reads", begin, end)) return;
    Root& root = roots_[root_of_[slice.buffer]];
    const Access me = Me(id, slice.buffer);
    const Clock clock = OfQueue(me.queue);
    const auto check = [&](std::int64_t from, std::int64_t to, const Access& writer) {
      if (writer.leaf != -1 && writer.leaf != slice.buffer) {
        Bad(ErrorCode::kInvalidInput, "reads {}, which {} has overwritten with '{}'", Range(slice.buffer, from, to),
            Named(writer.step, writer.iteration), s_.buffers[writer.leaf].name);
      } else if (!Knows(clock, writer)) {
        Bad(ErrorCode::kInvalidInput, "reads {}, but nothing orders it after the end of {}, which writes them",
            Range(slice.buffer, from, to), Named(writer.step, writer.iteration));
      }
    };
    const std::int64_t missing = root.contents.writers.ForEach(begin, end, check);
    if (missing < end) {
      Bad(ErrorCode::kInvalidInput, "reads {}, which nothing has written from byte {} on",
          Range(slice.buffer, begin, end), missing - base_[slice.buffer]);
    }
    root.contents.AddReader(begin, end, me);
    if (root.moves) Settle(root, begin, end);
  }

  void Write(StepId id, const Slice& slice) {
    std::int64_t begin = 0, end = 0;
    if (!Locate(id, slice, "writes", begin, end)) return;
    Contents& contents = roots_[root_of_[slice.buffer]].contents;
    const Access me = Me(id, slice.buffer);
    const Clock clock = OfQueue(me.queue);
    const auto ordered = [&](const Access& a) {
      return (a.queue == me.queue && a.sequence == me.sequence) || Knows(clock, a);
    };
    contents.writers.ForEach(begin, end, [&](std::int64_t from, std::int64_t to, const Access& writer) {
      if (ordered(writer)) return;
      Bad(ErrorCode::kInvalidInput, "writes {}, but nothing orders it after the end of {}, which writes them too",
          Range(slice.buffer, from, to), Named(writer.step, writer.iteration));
    });
    for (const auto& [queue, readers] : contents.readers) {
      if (queue == me.queue) continue;
      readers.ForEach(begin, end, [&](std::int64_t from, std::int64_t to, const Access& reader) {
        if (ordered(reader)) return;
        Bad(ErrorCode::kInvalidInput, "writes {}, but nothing orders it after the end of {}, which reads '{}' there",
            Range(slice.buffer, from, to), Named(reader.step, reader.iteration), s_.buffers[reader.leaf].name);
      });
    }
    contents.SetWriter(begin, end, me);
  }

  // Whether every execution that may still touch the root knows that `a` has ended: each follows the last one on its
  // queue and what its issuer knows.
  bool Settled(const Root& root, const Access& a) {
    if (a.queue < 0) return true;
    std::uint32_t issuers = ~0u;
    for (std::size_t i = 0; i < s_.issuers.size(); ++i) issuers = std::min(issuers, OfIssuer(i)[a.queue]);
    if (issuers >= a.sequence) return true;
    return std::all_of(root.queues.begin(), root.queues.end(),
                       [&](std::int32_t q) { return OfQueue(q)[a.queue] >= a.sequence; });
  }

  // Neighbours that differ only in which of two settled steps wrote them become one, so that a cache that grows by a
  // slice per iteration stays one range.
  void Settle(Root& root, std::int64_t begin, std::int64_t end) {
    root.contents.writers.Join(
        begin, end,
        [&](Access& writer) {
          if (Settled(root, writer)) writer.queue = -1;
        },
        [](const Access& a, const Access& b) { return a.queue == -1 && b.queue == -1 && a.leaf == b.leaf; });
  }

  // --- loops
  // -----------------------------------------------------------------------------------------------------------

  // Iterations 3 .. n - 3 were not executed. The clocks stay: the next iteration is as far from iteration 2's clocks as
  // it would be from those of n - 3. What the skipped ones did to slices that move is made up for.
  void Skip(const Phase& phase) {
    const std::int64_t last = phase.iterations - 3;
    per_iteration_.assign(queues_, 0);
    std::vector<bool> allocated_here(s_.buffers.size(), false);
    for (StepId id = phase.body.begin; id < phase.body.end; ++id) {
      const Step& t = s_.steps[id];
      if (t.kind == StepKind::kAllocate) allocated_here[t.buffer] = true;
      if (t.queue >= 0 && t.kind != StepKind::kRecordStream) ++per_iteration_[t.queue];
    }
    for (std::size_t b = 0; b < s_.buffers.size(); ++b) {
      if (!allocated_here[b] || !roots_[b].live) continue;
      const std::int64_t bytes = s_.buffers[b].bytes.at(last).value();
      pools_[s_.buffers[b].pool].live += bytes - roots_[b].bytes;
      roots_[b].bytes = bytes;
    }
    for (const std::int64_t age : {2, 1, 0}) {  // iterations .. n - 5, n - 4, n - 3
      for (StepId id = phase.body.begin; id < phase.body.end && !problems_.full(); ++id) {
        const Step& t = s_.steps[id];
        for (const Slice& slice : t.reads) SkipSlice(id, slice, false, last, age, allocated_here);
        for (const Slice& slice : t.writes) SkipSlice(id, slice, true, last, age, allocated_here);
      }
    }
  }

  void SkipSlice(StepId id, const Slice& slice, bool write, std::int64_t last, std::int64_t age,
                 const std::vector<bool>& allocated_here) {
    if (slice.offset.constant() && slice.bytes.constant()) return;
    const BufferId top = root_of_[slice.buffer];
    if (!roots_[top].live || (allocated_here[top] && age > 0)) return;
    const std::int32_t q = s_.steps[id].queue;
    const std::int64_t until = last - age;
    const std::int64_t from = age == 2 && !allocated_here[top] ? 0 : until;
    const Access access = {q, last_sequence_[id] - static_cast<std::uint32_t>(age) * per_iteration_[q], id, until,
                           slice.buffer};
    const auto range = [&](std::int64_t i) {
      const std::int64_t begin = base_[slice.buffer] + slice.offset.at(i).value();
      return std::pair(begin, begin + slice.bytes.at(i).value());
    };
    if (Touching(slice, from, until)) {  // then the first and the last bound them all: both ends are linear
      const auto a = range(from), b = range(until);
      SkipRange(top, std::min(a.first, b.first), std::max(a.second, b.second), write, access);
      return;
    }
    skipped_ranges_ += until - from + 1;
    if (skipped_ranges_ > std::max<std::int64_t>(options_.max_executions, 1'000'000)) {
      step_ = id;
      return Bad(ErrorCode::kInvalidInput, "touches {} separate ranges of '{}': too many to check", until - from + 1,
                 s_.buffers[slice.buffer].name);
    }
    for (std::int64_t i = from; i <= until; ++i) {
      SkipRange(top, range(i).first, range(i).second, write, access);
    }
  }

  // Whether the slices of iterations i and i + 1 touch for each i in [from, until): linear in i, so the ends decide.
  static bool Touching(const Slice& slice, std::int64_t from, std::int64_t until) {
    for (const std::int64_t i : {from, until - 1}) {
      if (from == until) break;
      const Bytes a = slice.offset.at(i), b = slice.offset.at(i + 1);
      if (a > b + slice.bytes.at(i + 1) || b > a + slice.bytes.at(i)) return false;
    }
    return true;
  }

  void SkipRange(BufferId top, std::int64_t begin, std::int64_t end, bool write, const Access& access) {
    Contents& contents = roots_[top].contents;
    write ? contents.SetWriter(begin, end, access) : contents.AddReader(begin, end, access);
  }

  const Schedule& s_;
  const CheckOptions& options_;
  Problems& problems_;
  std::size_t queues_ = 0, clocks_ = 0;
  std::int32_t slots_ = 0;
  std::vector<Place> places_;
  std::vector<std::uint32_t> queue_clock_, issuer_clock_, ends_;  // rows of clocks_
  std::vector<Issue> queue_last_;
  std::vector<std::int32_t> slot_;            // by step: its row pair in ends_; -1: nothing refers to it
  std::vector<std::uint32_t> runs_;           // by step: how often it ran
  std::vector<std::uint32_t> last_sequence_;  // by step: in its queue
  std::int64_t skipped_ranges_ = 0;           // made up for one by one
  std::vector<std::uint32_t> per_iteration_;  // by queue: its steps in the body that is being skipped
  std::vector<BufferId> root_of_;
  std::vector<std::int64_t> base_;  // offset in the root
  std::vector<Root> roots_;         // by buffer; parts have none
  std::vector<PoolState> pools_;
  StepId step_ = -1;  // what runs now, for messages
  std::int64_t iteration_ = -1;
};

}  // namespace

void CheckOrder(const Schedule& schedule, const CheckOptions& options, Problems& problems) {
  OrderCheck(schedule, options, problems).Run();
}

std::vector<ScheduleProblem> FindProblems(const Schedule& schedule, const CheckOptions& options) {
  Problems problems(options.max_problems);
  CheckStructure(schedule, problems);
  if (problems.empty()) {
    CheckInstances(schedule, problems);
    CheckOrder(schedule, options, problems);
  }
  return std::move(problems).Take();
}

Status CheckSchedule(const Schedule& schedule, const CheckOptions& options) {
  const std::vector<ScheduleProblem> problems = FindProblems(schedule, options);
  if (problems.empty()) return OkStatus();
  std::string more;
  if (problems.size() > 1) {
    more = fmt::format(" (and {}{} more)", static_cast<int>(problems.size()) == options.max_problems ? "at least " : "",
                       problems.size() - 1);
  }
  return Error{problems[0].code, problems[0].text + more};
}

}  // namespace stowage

// What can be said of a schedule without executing it. Longer than 400 lines: it is a list of small independent rules.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "planner/schedule/check_parts.h"

namespace stowage {
namespace {

constexpr bool ActsWhenIssued(StepKind kind) {
  return kind != StepKind::kRead && kind != StepKind::kCopy && kind != StepKind::kCompute && kind != StepKind::kReduce;
}

template <class List>
bool Has(const List& list, std::int64_t index) {
  return index >= 0 && index < static_cast<std::int64_t>(list.size());
}

// The value at the last of `iterations`, which may not fit 64 bits.
__int128 AtLast(AffineBytes a, std::int64_t iterations) {
  return __int128{a.base} + __int128{a.step} * (std::max<std::int64_t>(iterations, 1) - 1);
}

bool Sane(AffineBytes a, std::int64_t iterations) {
  const __int128 last = AtLast(a, iterations);
  return a.base >= 0 && a.base <= kMostBytes && last >= 0 && last <= kMostBytes;
}

std::string Text(AffineBytes a) {
  return a.constant() ? fmt::format("{}", a.base) : fmt::format("{}{:+}i", a.base, a.step);
}

class StructureCheck {
 public:
  StructureCheck(const Schedule& s, Problems& problems) : s_(s), problems_(problems) {}

  void Run() {
    CheckLists();
    CheckPhases();
    if (!problems_.empty()) return;
    places_ = PlacesOf(s_);
    for (StepId id = 0; Has(s_.steps, id) && !problems_.full(); ++id) CheckStep(id);
    if (problems_.empty()) CheckGroups();
  }

 private:
  template <class... Args>
  void Bad(StepId step, fmt::format_string<Args...> format, Args&&... args) {
    std::string text = fmt::format(format, std::forward<Args>(args)...);
    if (step >= 0) text = fmt::format("step {} '{}': {}", step, Named(step), text);
    problems_.Add(step, std::move(text));
  }

  // StepName follows indices, which are not known to be sound here.
  std::string Named(StepId id) const {
    const Step& t = s_.steps[id];
    return t.name.empty() ? std::string(Name(t.kind)) : t.name;
  }

  void CheckLists() {
    if (s_.queues.size() + s_.issuers.size() > kMostClocks) {
      Bad(-1, "{} queues and {} issuers; at most {} together", s_.queues.size(), s_.issuers.size(), kMostClocks);
    }
    if (s_.issuers.empty() && !s_.steps.empty()) Bad(-1, "there are steps, but no issuer");
    for (const PoolUse& pool : s_.pools) {
      if (pool.budget < Bytes(0)) Bad(-1, "pool '{}': a budget of {} bytes", pool.name, pool.budget.value());
    }
    for (BufferId id = 0; Has(s_.buffers, id) && !problems_.full(); ++id) CheckBuffer(id);
  }

  void CheckBuffer(BufferId id) {
    const Buffer& b = s_.buffers[id];
    const auto bad = [&](std::string text) { Bad(-1, "buffer {} '{}': {}", id, b.name, text); };
    if (!Has(s_.pools, b.pool)) return bad(fmt::format("pool {} does not exist", b.pool));
    if (!Sane(b.bytes, 1)) return bad(fmt::format("{} bytes", Text(b.bytes)));
    if (b.file != -1 && !Has(s_.files, b.file)) return bad(fmt::format("file {} does not exist", b.file));
    if (b.file != -1 && (!b.initial || b.parent != -1)) return bad("the contents of a file are an initial root buffer");
    if (b.file_offset < 0) return bad(fmt::format("file offset {}", b.file_offset));
    if (b.initial && !b.bytes.constant()) return bad("an initial buffer does not grow");
    if (b.parent == -1) return;
    if (b.parent < 0 || b.parent >= id) return bad(fmt::format("parent {} does not come before it", b.parent));
    const Buffer& parent = s_.buffers[b.parent];
    if (b.pool != parent.pool) return bad(fmt::format("is in another pool than its parent '{}'", parent.name));
    if (!b.bytes.constant() || !parent.bytes.constant()) return bad("a part and its parent have constant sizes");
    if (b.initial && !parent.initial) return bad(fmt::format("is initial, but its parent '{}' is not", parent.name));
    const std::int64_t begin = b.offset.value();
    if (begin < 0 || begin > kMostBytes || begin + b.bytes.base > parent.bytes.base) {
      bad(fmt::format("[{}, {}) is not inside its parent '{}' of {} bytes", begin, __int128{begin} + b.bytes.base,
                      parent.name, parent.bytes.base));
    }
  }

  void CheckPhases() {
    StepId next = 0;
    for (const Phase& p : s_.phases) {
      const std::pair<const char*, const Section*> sections[] = {
          {"prologue", &p.prologue}, {"body", &p.body}, {"epilogue", &p.epilogue}};
      for (const auto& [word, section] : sections) {
        if (section->begin != next || section->end < next || section->end > static_cast<StepId>(s_.steps.size())) {
          return Bad(-1, "phase '{}': its {} is steps [{}, {}), but should begin at {} and end by {}", p.name, word,
                     section->begin, section->end, next, s_.steps.size());
        }
        next = section->end;
        if (section->passes < 0) Bad(-1, "phase '{}': {} passes in its {}", p.name, section->passes, word);
      }
      if (p.iterations < 0 || p.iterations > kMostIterations) {
        Bad(-1, "phase '{}': {} iterations; at most {}", p.name, p.iterations, kMostIterations);
      }
      for (const RequiredOp& op : p.required) {
        if (op.ranks < 1 || op.micro_batches < 1 || op.tiles < 1) {
          Bad(-1, "phase '{}' requires '{}' with {} ranks, {} micro-batches and {} tiles; each is at least 1", p.name,
              op.name, op.ranks, op.micro_batches, op.tiles);
        }
      }
    }
    if (next != static_cast<StepId>(s_.steps.size())) {
      Bad(-1, "the phases cover steps [0, {}) of {}", next, s_.steps.size());
    }
  }

  std::int64_t IterationsOf(StepId id) const {
    return places_[id].in_body ? s_.phases[places_[id].phase].iterations : 1;
  }

  void CheckStep(StepId id) {
    const Step& t = s_.steps[id];
    if (!Has(s_.issuers, t.issuer)) Bad(id, "issuer {} does not exist", t.issuer);
    if (t.queue != -1 && !Has(s_.queues, t.queue)) return Bad(id, "queue {} does not exist", t.queue);
    if (t.kernel != -1 && !Has(s_.kernels, t.kernel)) return Bad(id, "kernel {} does not exist", t.kernel);
    if (t.buffer != -1 && !Has(s_.buffers, t.buffer)) return Bad(id, "buffer {} does not exist", t.buffer);
    if (t.pool != -1 && !Has(s_.pools, t.pool)) return Bad(id, "pool {} does not exist", t.pool);
    for (std::size_t i = 0; i < t.resources.size(); ++i) {
      const std::int16_t r = t.resources[i];
      if (r == -1) continue;
      if (!Has(s_.resources, r)) return Bad(id, "resource {} does not exist", r);
      if (std::find(t.resources.begin(), t.resources.begin() + i, r) != t.resources.begin() + i) {
        Bad(id, "holds resource '{}' twice", s_.resources[r]);
      }
    }
    for (const StepRef& ref : t.after) CheckRef(id, ref);
    for (const Slice& slice : t.reads) CheckSlice(id, slice);
    for (const Slice& slice : t.writes) CheckSlice(id, slice);
    if (t.fixed && !(std::isfinite(t.fixed->value()) && t.fixed->value() >= 0)) {
      Bad(id, "a duration of {} s", t.fixed->value());
    }
    if (problems_.empty()) ActsWhenIssued(t.kind) ? CheckActing(id) : CheckQueued(id);
  }

  void CheckRef(StepId id, StepRef ref) {
    if (!Has(s_.steps, ref.step)) return Bad(id, "refers to step {}, which does not exist", ref.step);
    if (ref.back != 0 && ref.back != 1) return Bad(id, "refers to step {}, {} iterations back", ref.step, ref.back);
    if (ref.back == 0 && ref.step >= id) {
      return Bad(id, "refers to step {} '{}', which does not come before it", ref.step, Named(ref.step));
    }
    const bool same_body =
        places_[id].in_body && places_[ref.step].in_body && places_[id].phase == places_[ref.step].phase;
    if (ref.back == 1 && !same_body) {
      Bad(id, "refers to step {} '{}' one iteration back, but the two are not in one body", ref.step, Named(ref.step));
    }
  }

  void CheckSlice(StepId id, const Slice& slice) {
    if (!Has(s_.buffers, slice.buffer)) return Bad(id, "buffer {} does not exist", slice.buffer);
    const Buffer& b = s_.buffers[slice.buffer];
    const std::int64_t iterations = IterationsOf(id);
    if (!places_[id].in_body && !(slice.offset.constant() && slice.bytes.constant())) {
      return Bad(id, "a slice of '{}' changes with the iteration, but the step is not in a body", b.name);
    }
    if (!Sane(slice.offset, iterations) || !Sane(slice.bytes, iterations)) {
      return Bad(id, "{} bytes at {} of '{}' over {} iterations", Text(slice.bytes), Text(slice.offset), b.name,
                 iterations);
    }
    if (!b.bytes.constant()) return;  // its size is that of the iteration that allocates it: see CheckOrder
    for (const std::int64_t n : {std::int64_t{1}, iterations}) {
      const __int128 begin = AtLast(slice.offset, n);
      const __int128 end = begin + AtLast(slice.bytes, n);
      if (end <= b.bytes.base) continue;
      return Bad(id, "bytes [{}, {}) of '{}' in iteration {}, but it has {}", begin, end, b.name, n - 1, b.bytes.base);
    }
  }

  void CheckActing(StepId id) {
    const Step& t = s_.steps[id];
    if (!t.reads.empty() || !t.writes.empty()) Bad(id, "a {} acts when issued and touches no bytes", Name(t.kind));
    if (!t.after.empty()) Bad(id, "a {} acts when issued: the issuer must wait before it instead", Name(t.kind));
    const bool of_stream = t.kind == StepKind::kRecordStream || t.kind == StepKind::kAllocate;
    if (t.queue != -1 && !of_stream) Bad(id, "a {} enters no queue", Name(t.kind));
    if (places_[id].in_body && s_.phases[places_[id].phase].captured) {
      Bad(id, "a {} in a captured body, which is issued as one", Name(t.kind));
    }
    if (t.kind == StepKind::kWait) return CheckRef(id, t.target);
    if (t.kind == StepKind::kEmptyCache) {
      if (t.pool == -1) return Bad(id, "names no pool");
      return CheckTorch(id, t.pool);
    }
    if (t.buffer == -1) return Bad(id, "names no buffer");
    const Buffer& b = s_.buffers[t.buffer];
    if (b.parent != -1) Bad(id, "'{}' is a part of '{}', not an allocation", b.name, s_.buffers[b.parent].name);
    if (t.kind == StepKind::kAllocate && b.initial) Bad(id, "'{}' is initial, so it is never allocated", b.name);
    if (t.kind == StepKind::kAllocate && t.queue != -1) CheckTorch(id, b.pool);
    if (t.kind == StepKind::kFree && b.file != -1) Bad(id, "'{}' is in a file", b.name);
    if (t.kind == StepKind::kAllocate && !Sane(b.bytes, IterationsOf(id))) {
      Bad(id, "'{}' of {} bytes in the last of {} iterations", b.name, Text(b.bytes), IterationsOf(id));
    }
    if (t.kind == StepKind::kRecordStream) {
      if (t.queue == -1) Bad(id, "names no queue");
      CheckTorch(id, b.pool);
    }
  }

  void CheckTorch(StepId id, std::int32_t pool) {
    if (s_.pools[pool].allocator == Allocator::kTorchCaching) return;
    Bad(id, "pool '{}' is not torch's caching allocator", s_.pools[pool].name);
  }

  void CheckQueued(StepId id) {
    const Step& t = s_.steps[id];
    if (t.queue == -1) Bad(id, "enters no queue");
    if (t.blocking && places_[id].in_body && s_.phases[places_[id].phase].captured) {
      Bad(id, "blocking in a captured body, which is issued as one");
    }
    for (const Slice& slice : t.writes) {
      if (OnDisk(slice)) Bad(id, "writes '{}', which is in a file", s_.buffers[slice.buffer].name);
    }
    if (t.kind == StepKind::kCompute) return CheckCompute(id);
    if (t.reads.size() != 1 || t.writes.size() != 1) {
      return Bad(id, "has {} sources and {} destinations instead of one each", t.reads.size(), t.writes.size());
    }
    if (OnDisk(t.reads[0]) != (t.kind == StepKind::kRead)) {
      Bad(id, "'{}' is {}in a file: {}", s_.buffers[t.reads[0].buffer].name, t.kind == StepKind::kRead ? "not " : "",
          t.kind == StepKind::kRead ? "a read is from one" : "it takes a read to get at it");
    }
    const std::int64_t n = IterationsOf(id);
    const AffineBytes from = t.reads[0].bytes, to = t.writes[0].bytes;
    if (from.base != to.base || AtLast(from, n) != AtLast(to, n)) {
      Bad(id, "moves {} bytes of '{}' to {} bytes of '{}'", Text(from), s_.buffers[t.reads[0].buffer].name, Text(to),
          s_.buffers[t.writes[0].buffer].name);
    }
    if (t.expected_bytes) {
      const AffineBytes e = *t.expected_bytes;
      if (!Sane(e, n) || e.base > from.base || AtLast(e, n) > AtLast(from, n)) {
        Bad(id, "expects {} bytes, which is not between 0 and the {} at worst", Text(e), Text(from));
      }
    }
    if (t.kind == StepKind::kReduce && t.group < 0) Bad(id, "is in no group");
  }

  bool OnDisk(const Slice& slice) const { return s_.buffers[slice.buffer].file != -1; }

  void CheckCompute(StepId id) {
    const Step& t = s_.steps[id];
    if (t.kernel == -1) return Bad(id, "names no kernel");
    for (const Slice& slice : t.reads) {
      if (OnDisk(slice)) Bad(id, "computes on '{}', which is in a file", s_.buffers[slice.buffer].name);
    }
    const Kernel& k = s_.kernels[t.kernel];
    std::size_t reads = 0, writes = 1;
    switch (k.kind) {
      case KernelKind::kEmbedding:
      case KernelKind::kRmsNorm:
      case KernelKind::kSiluMul:
        reads = 2;
        break;
      case KernelKind::kLinear:
        reads = 2 + (k.has_bias ? 1 : 0) + (k.accumulate ? 1 : 0);
        break;
      case KernelKind::kRopeCache:
        reads = 4;
        writes = 3;
        break;
      case KernelKind::kAttention:
        reads = 3;
        break;
      case KernelKind::kArgmax:
      case KernelKind::kConvert:
        reads = 1;
        break;
      default:
        return;  // operands depend on the model; the lowering's own tests compare them
    }
    if (t.reads.size() == reads && t.writes.size() == writes) return;
    Bad(id, "kernel '{}' ({}) reads {} slices and writes {}, not {} and {}", k.name, Name(k.kind), reads, writes,
        t.reads.size(), t.writes.size());
  }

  // A group is a run of consecutive Reduce steps of one section with one id.
  void CheckGroups() {
    std::set<std::int32_t> seen;
    for (StepId begin = 0; Has(s_.steps, begin) && !problems_.full();) {
      if (s_.steps[begin].kind != StepKind::kReduce) {
        ++begin;
        continue;
      }
      const std::int32_t group = s_.steps[begin].group;
      StepId end = begin + 1;
      while (Has(s_.steps, end) && s_.steps[end].kind == StepKind::kReduce && s_.steps[end].group == group) ++end;
      if (!seen.insert(group).second) {
        Bad(begin, "the parts of reduce group {} do not follow each other in the list", group);
      }
      CheckGroup(begin, end);
      begin = end;
    }
  }

  void CheckGroup(StepId begin, StepId end) {
    const Step& first = s_.steps[begin];
    const Phase& phase = s_.phases[places_[begin].phase];
    const std::int32_t op = first.instance.op;
    const auto ranks =
        static_cast<std::int64_t>(op < 0 || !Has(phase.required, op) ? end - begin : phase.required[op].ranks);
    if (end - begin != ranks || ranks < 2) {
      return Bad(begin, "reduce group {} has {} of {} parts", first.group, end - begin,
                 std::max<std::int64_t>(ranks, 2));
    }
    std::set<std::int32_t> queues, seen_ranks;
    for (StepId id = begin; id < end; ++id) {
      const Step& t = s_.steps[id];
      if (places_[id].phase != places_[begin].phase || places_[id].in_body != places_[begin].in_body) {
        Bad(id, "is in another section than the rest of reduce group {}", t.group);
      }
      if (t.instance.rank < 0 || t.instance.rank >= ranks || !seen_ranks.insert(t.instance.rank).second) {
        Bad(id, "rank {} in reduce group {} of {}: each rank comes once", t.instance.rank, t.group, ranks);
      }
      if (!queues.insert(t.queue).second) {
        Bad(id, "queue '{}' has two parts of reduce group {}, which end together", s_.queues[t.queue].name, t.group);
      }
      if (t.reads[0].bytes != first.reads[0].bytes) {
        Bad(id, "{} bytes in reduce group {}, whose first part has {}", Text(t.reads[0].bytes), t.group,
            Text(first.reads[0].bytes));
      }
      for (const StepRef& ref : t.after) {
        if (ref.back == 0 && ref.step >= begin) Bad(id, "comes after another part of its own reduce group {}", t.group);
      }
      for (StepId later = id + 1; t.blocking && later < end; ++later) {
        if (s_.steps[later].issuer == t.issuer) {
          Bad(id, "blocks its issuer, which has yet to issue step {} of the same reduce group {}", later, t.group);
        }
      }
    }
  }

  const Schedule& s_;
  Problems& problems_;
  std::vector<Place> places_;
};

class InstanceCheck {
 public:
  InstanceCheck(const Schedule& s, Problems& problems) : s_(s), problems_(problems) {}

  void Run() {
    for (const Phase& p : s_.phases) {
      CheckSection(p, p.prologue, "prologue");
      CheckSection(p, p.body, "body");
      CheckSection(p, p.epilogue, "epilogue");
    }
  }

 private:
  using Found = std::pair<Instance, StepId>;

  static std::string Text(const Phase& p, const Instance& i) {
    return fmt::format("op '{}' pass {} rank {} micro-batch {} tile {}", p.required[i.op].name, i.pass, i.rank,
                       i.micro_batch, i.tile);
  }

  void CheckSection(const Phase& p, const Section& section, const char* word) {
    std::vector<Found> found;
    for (StepId id = section.begin; id < section.end; ++id) {
      const Step& t = s_.steps[id];
      if (t.kind != StepKind::kCompute && t.kind != StepKind::kReduce) continue;
      const Instance& i = t.instance;
      if (i.op == -1) continue;
      if (!InRange(p, section, i)) {
        problems_.Add(id,
                      fmt::format("step {} '{}': op {} pass {} rank {} micro-batch {} tile {} is none of phase '{}' "
                                  "(its {} has {} passes)",
                                  id, s_.StepName(id), i.op, i.pass, i.rank, i.micro_batch, i.tile, p.name, word,
                                  section.passes));
        continue;
      }
      found.emplace_back(i, id);
    }
    std::sort(found.begin(), found.end());
    Compare(p, section, word, found);
  }

  static bool InRange(const Phase& p, const Section& section, const Instance& i) {
    if (i.op < 0 || i.op >= static_cast<std::int32_t>(p.required.size())) return false;
    const RequiredOp& op = p.required[i.op];
    return i.pass >= 0 && i.pass < section.passes && i.rank >= 0 && i.rank < op.ranks && i.micro_batch >= 0 &&
           i.micro_batch < op.micro_batches && i.tile >= 0 && i.tile < op.tiles;
  }

  // Walks what is required, in order, along what was found; stops at the first that is missing, so that a hostile
  // count of tiles costs nothing.
  void Compare(const Phase& p, const Section& section, const char* word, const std::vector<Found>& found) {
    std::size_t at = 0;
    Instance next{0, 0, 0, 0, 0};
    if (section.passes == 0) return;
    while (next.op < static_cast<std::int32_t>(p.required.size())) {
      if (at == found.size() || found[at].first != next) {
        return problems_.Add(-1, fmt::format("phase '{}': its {} does not compute {}", p.name, word, Text(p, next)));
      }
      const StepId first = found[at++].second;
      for (; at < found.size() && found[at].first == next; ++at) {
        const StepId id = found[at].second;
        problems_.Add(id, fmt::format("step {} '{}': computes {} a second time (first: step {})", id, s_.StepName(id),
                                      Text(p, next), first));
        if (problems_.full()) return;
      }
      Increment(p.required[next.op], section.passes, next);
    }
  }

  static void Increment(const RequiredOp& op, std::int32_t passes, Instance& i) {
    if (i.tile < op.tiles - 1) return void(++i.tile);
    i.tile = 0;
    if (i.micro_batch < op.micro_batches - 1) return void(++i.micro_batch);
    i.micro_batch = 0;
    if (i.rank < op.ranks - 1) return void(++i.rank);
    i.rank = 0;
    if (i.pass < passes - 1) return void(++i.pass);
    i.pass = 0;
    ++i.op;
  }

  const Schedule& s_;
  Problems& problems_;
};

}  // namespace

std::vector<Place> PlacesOf(const Schedule& s) {
  std::vector<Place> places(s.steps.size());
  for (std::size_t p = 0; p < s.phases.size(); ++p) {
    const Phase& phase = s.phases[p];
    for (StepId id = phase.prologue.begin; id < phase.epilogue.end; ++id) {
      places[id] = {static_cast<std::int32_t>(p), id >= phase.body.begin && id < phase.body.end};
    }
  }
  return places;
}

void CheckStructure(const Schedule& schedule, Problems& problems) { StructureCheck(schedule, problems).Run(); }
void CheckInstances(const Schedule& schedule, Problems& problems) { InstanceCheck(schedule, problems).Run(); }

}  // namespace stowage

#include "planner/schedule/referee.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace stowage {
namespace {

struct Execution {
  StepId step;
  std::int64_t iteration;  // 0 outside bodies
  int phase;
  int section;            // 0, 1, 2
  int issue, start, end;  // nodes
};

struct Touch {
  int execution;
  BufferId root, leaf;
  std::int64_t begin, end;
  bool write;
  int epoch;  // how often the root had been allocated before
};

class Referee {
 public:
  explicit Referee(const Schedule& s) : s_(s) {}

  std::string Verdict() {
    if (Structure() && Instances()) {
      Unroll();
      Edges();
      Close();
      Lives();
      Races();
      Sources();
    }
    return verdict_;
  }

 private:
  void Object(std::string why) {
    if (verdict_.empty()) verdict_ = std::move(why);
  }

  bool Queued(const Step& t) const {
    return t.kind == StepKind::kRead || t.kind == StepKind::kCopy || t.kind == StepKind::kCompute ||
           t.kind == StepKind::kReduce;
  }

  // (phase, section) of a step.
  std::pair<int, int> Where(StepId id) const {
    for (int p = 0; p < static_cast<int>(s_.phases.size()); ++p) {
      const Section* sections[] = {&s_.phases[p].prologue, &s_.phases[p].body, &s_.phases[p].epilogue};
      for (int k = 0; k < 3; ++k) {
        if (id >= sections[k]->begin && id < sections[k]->end) return {p, k};
      }
    }
    return {-1, -1};
  }

  bool Structure() {
    for (StepId id = 0; id < static_cast<StepId>(s_.steps.size()); ++id) {
      const Step& t = s_.steps[id];
      std::vector<StepRef> refs = t.after;
      if (t.kind == StepKind::kWait) refs.push_back(t.target);
      for (const StepRef& ref : refs) {
        if (ref.back == 0 && ref.step >= id) Object(fmt::format("{} refers to a later step", id));
        if (ref.back == 1 && (Where(ref.step) != Where(id) || Where(id).second != 1)) Object("one back across bodies");
      }
      const std::int64_t n = Where(id).second == 1 ? s_.phases[Where(id).first].iterations : 1;
      std::vector<Slice> slices = t.reads;
      slices.insert(slices.end(), t.writes.begin(), t.writes.end());
      for (const Slice& slice : slices) {
        for (std::int64_t i = 0; i < n; ++i) {
          const auto begin = slice.offset.at(i).value(), size = slice.bytes.at(i).value();
          if (begin < 0 || size < 0 || Bytes(begin + size) > s_.buffers[slice.buffer].bytes.at(i)) {
            Object(fmt::format("{} leaves its buffer", id));
          }
        }
      }
      if (t.kind == StepKind::kReduce && id > 0) {
        bool apart = false;
        for (StepId other = 0; other < id; ++other) {
          const Step& o = s_.steps[other];
          if (o.kind == StepKind::kReduce && o.group == t.group) apart |= s_.steps[id - 1].group != t.group;
        }
        if (apart) Object("a reduce group is torn apart");
      }
    }
    std::map<int, std::set<int>> ranks;
    for (StepId id = 0; id < static_cast<StepId>(s_.steps.size()); ++id) {
      const Step& t = s_.steps[id];
      if (t.kind == StepKind::kReduce && !ranks[t.group].insert(t.instance.rank).second) Object("a rank twice");
    }
    return verdict_.empty();
  }

  bool Instances() {
    for (int p = 0; p < static_cast<int>(s_.phases.size()); ++p) {
      const Phase& phase = s_.phases[p];
      const Section* sections[] = {&phase.prologue, &phase.body, &phase.epilogue};
      for (const Section* section : sections) {
        std::map<std::tuple<int, int, int, int, int>, int> count;
        for (int op = 0; op < static_cast<int>(phase.required.size()); ++op) {
          const RequiredOp& r = phase.required[op];
          for (int a = 0; a < section->passes; ++a)
            for (int b = 0; b < r.ranks; ++b)
              for (int c = 0; c < r.micro_batches; ++c)
                for (int d = 0; d < r.tiles; ++d) count[{op, a, b, c, d}] = 0;
        }
        for (StepId id = section->begin; id < section->end; ++id) {
          const Instance& i = s_.steps[id].instance;
          if (!Queued(s_.steps[id]) || i.op < 0) continue;
          const auto found = count.find({i.op, i.pass, i.rank, i.micro_batch, i.tile});
          if (found == count.end())
            Object("an instance nobody asked for");
          else
            ++found->second;
        }
        for (const auto& [instance, n] : count) {
          if (n != 1) Object(fmt::format("op {} computed {} times", phase.required[std::get<0>(instance)].name, n));
        }
      }
    }
    return verdict_.empty();
  }

  void Unroll() {
    for (int p = 0; p < static_cast<int>(s_.phases.size()); ++p) {
      const Phase& phase = s_.phases[p];
      const Section* sections[] = {&phase.prologue, &phase.body, &phase.epilogue};
      for (int k = 0; k < 3; ++k) {
        for (std::int64_t i = 0; i < (k == 1 ? phase.iterations : 1); ++i) {
          int group = -1, start = -1, end = -1;
          for (StepId id = sections[k]->begin; id < sections[k]->end; ++id) {
            const bool reduce = s_.steps[id].kind == StepKind::kReduce;
            if (!reduce || s_.steps[id].group != group) {
              start = nodes_++;
              end = nodes_++;
            }
            group = reduce ? s_.steps[id].group : -1;
            index_[{id, i}] = static_cast<int>(all_.size());
            all_.push_back({id, i, p, k, nodes_++, start, end});
          }
        }
      }
    }
    reach_.assign(nodes_, Row((nodes_ + 63) / 64, 0));
  }

  // The execution a reference of `from` means; -1: none.
  int Meant(const Execution& from, StepRef ref) const {
    const auto [phase, section] = Where(ref.step);
    std::int64_t i = 0;
    if (section == 1) {
      const bool same = phase == from.phase && from.section == 1;
      i = same ? from.iteration - ref.back : s_.phases[phase].iterations - 1;
    }
    const auto found = index_.find({ref.step, i});
    return found == index_.end() ? -1 : found->second;
  }

  void Edge(int a, int b) { reach_[a][b / 64] |= std::uint64_t{1} << (b % 64); }
  bool Reaches(int a, int b) const { return (reach_[a][b / 64] >> (b % 64)) & 1; }

  void Edges() {
    std::map<int, int> last_of_issuer, last_of_queue;
    for (int e = 0; e < static_cast<int>(all_.size()); ++e) {
      const Execution& x = all_[e];
      const Step& t = s_.steps[x.step];
      Edge(x.issue, x.start);
      Edge(x.start, x.end);
      if (const auto last = last_of_issuer.find(t.issuer); last != last_of_issuer.end()) {
        const Execution& y = all_[last->second];
        Edge(y.issue, x.issue);
        if (s_.steps[y.step].blocking || !Queued(s_.steps[y.step])) Edge(y.end, x.issue);
      }
      last_of_issuer[t.issuer] = e;
      for (const StepRef& ref : t.after) {
        if (const int m = Meant(x, ref); m >= 0) Edge(all_[m].end, x.start);
      }
      if (t.kind == StepKind::kWait) {
        if (const int m = Meant(x, t.target); m >= 0) Edge(all_[m].end, x.end);
      }
      if (!Queued(t)) continue;
      if (const auto last = last_of_queue.find(t.queue); last != last_of_queue.end()) {
        Edge(all_[last->second].end, x.start);
        entered_.push_back({last->second, e});
      }
      last_of_queue[t.queue] = e;
    }
    // A blocking part of a Reduce holds its issuer even when another part was issued in between.
    for (int e = 0; e < static_cast<int>(all_.size()); ++e) {
      for (int f = e + 1; f < static_cast<int>(all_.size()); ++f) {
        const Step& a = s_.steps[all_[e].step];
        const Step& b = s_.steps[all_[f].step];
        if (a.blocking && Queued(a) && a.issuer == b.issuer) Edge(all_[e].end, all_[f].issue);
      }
    }
  }

  void Close() {
    for (int k = 0; k < nodes_; ++k) {
      for (int i = 0; i < nodes_; ++i) {
        if (!Reaches(i, k)) continue;
        for (std::size_t j = 0; j < reach_[i].size(); ++j) reach_[i][j] |= reach_[k][j];
      }
    }
    for (int k = 0; k < nodes_; ++k) {
      if (Reaches(k, k)) Object("a cycle");
    }
    for (const auto& [a, b] : entered_) {
      const bool same = s_.steps[all_[a].step].issuer == s_.steps[all_[b].step].issuer;
      if (!same && !Reaches(all_[a].issue, all_[b].issue)) Object("two issuers race into a queue");
    }
  }

  bool Before(int a, int b) const { return a == b || Reaches(a, b); }

  std::int64_t SizeOf(BufferId root, int allocate) const {
    return s_.buffers[root].bytes.at(allocate < 0 ? 0 : all_[allocate].iteration).value();
  }

  // Allocations, uses and frees of each root, in list order. One long walk, so that nothing is shared with the checker.
  void Lives() {  // NOLINT(readability-function-size)
    struct Life {
      bool live = false;
      int epoch = 0, allocated = -1, freed = -1;
      std::vector<int> users, recorded;
    };
    std::vector<Life> lives(s_.buffers.size());
    std::vector<int> last_of(s_.queues.size(), -1);        // the end of the last step so far
    std::vector<std::tuple<BufferId, int, int>> holdings;  // root, allocated (-1: from the start), freed (-1: never)
    for (std::size_t b = 0; b < s_.buffers.size(); ++b) {
      lives[b].live = s_.buffers[b].initial && s_.buffers[b].parent < 0;
    }
    const auto usable = [&](Life& life, int event, const char* what) {
      if (!life.live)
        Object(fmt::format("{} of what is not allocated", what));
      else if (life.allocated >= 0 && !Before(all_[life.allocated].end, event))
        Object("not after its allocation");
    };
    for (int e = 0; e < static_cast<int>(all_.size()); ++e) {
      const Execution& x = all_[e];
      const Step& t = s_.steps[x.step];
      if (t.kind == StepKind::kAllocate) {
        Life& life = lives[t.buffer];
        if (life.live) Object("allocated twice");
        if (life.freed >= 0 && !Before(all_[life.freed].end, x.issue)) Object("allocated before it is surely freed");
        life = {true, life.epoch + 1, e, -1, {}, {}};
      } else if (t.kind == StepKind::kRecordStream) {
        usable(lives[t.buffer], x.issue, "record");
        lives[t.buffer].recorded.push_back(t.queue);
      } else if (t.kind == StepKind::kFree) {
        Life& life = lives[t.buffer];
        usable(life, x.issue, "free");
        const bool torch = s_.pools[s_.buffers[t.buffer].pool].allocator == Allocator::kTorchCaching;
        int home = -1;
        for (const int user : life.users) {
          const Step& first = s_.steps[all_[user].step];
          const bool arrives = first.kind == StepKind::kCopy && s_.RootOf(first.writes[0].buffer) == t.buffer;
          const std::int32_t from = arrives ? s_.buffers[s_.RootOf(first.reads[0].buffer)].pool : -1;
          const bool torch_from = arrives && s_.pools[from].allocator == Allocator::kTorchCaching;
          if (home < 0 && !(torch_from && from != s_.buffers[t.buffer].pool)) home = first.queue;
        }
        for (const int user : life.users) {
          bool fine = Before(all_[user].end, x.issue);
          const int queue = s_.steps[all_[user].step].queue;
          if (torch && home >= 0) fine |= queue == home || Before(all_[user].end, last_of[home]);
          for (const int recorded : life.recorded) fine |= torch && recorded == queue;
          if (!fine) Object(fmt::format("{} freed under a user", s_.buffers[t.buffer].name));
        }
        holdings.emplace_back(t.buffer, life.allocated, e);
        life.live = false;
        life.allocated = -1;
        life.freed = e;
      } else if (Queued(t)) {
        last_of[t.queue] = x.end;
        for (const bool write : {false, true}) {
          for (const Slice& slice : write ? t.writes : t.reads) {
            const BufferId root = s_.RootOf(slice.buffer);
            usable(lives[root], x.start, "use");
            lives[root].users.push_back(e);
            const std::int64_t begin = (s_.OffsetInRoot(slice.buffer) + slice.offset.at(x.iteration)).value();
            const std::int64_t end = begin + slice.bytes.at(x.iteration).value();
            if (end > SizeOf(root, lives[root].allocated)) Object("beyond what was allocated");
            touches_.push_back({e, root, slice.buffer, begin, end, write, lives[root].epoch});
          }
        }
      }
    }
    for (std::size_t b = 0; b < lives.size(); ++b) {
      if (lives[b].live) holdings.emplace_back(static_cast<BufferId>(b), lives[b].allocated, -1);
    }
    for (const auto& [root, allocated, freed] : holdings) {  // what may be held when this one comes
      const PoolUse& pool = s_.pools[s_.buffers[root].pool];
      if (pool.allocator == Allocator::kTorchCaching || pool.budget == Bytes(0)) continue;
      std::int64_t held = 0;
      for (const auto& [other, other_allocated, other_freed] : holdings) {
        const Buffer& b = s_.buffers[other];
        if (b.pool != s_.buffers[root].pool || b.file >= 0 || other_allocated > allocated) continue;
        if (other_freed >= 0 && allocated >= 0 && Before(all_[other_freed].end, all_[allocated].issue)) continue;
        held += SizeOf(other, other_allocated);
      }
      if (Bytes(held) > pool.budget) Object("beyond the budget");
    }
  }

  bool Conflict(const Touch& a, const Touch& b) const {
    return a.execution != b.execution && a.root == b.root && a.epoch == b.epoch && (a.write || b.write) &&
           a.begin < b.end && b.begin < a.end;
  }

  void Races() {
    for (const Touch& a : touches_) {
      for (const Touch& b : touches_) {
        if (!Conflict(a, b)) continue;
        const Execution& x = all_[a.execution];
        const Execution& y = all_[b.execution];
        if (!Before(x.end, y.start) && !Before(y.end, x.start)) {
          Object(
              fmt::format("{} and {} race for {}", s_.StepName(x.step), s_.StepName(y.step), s_.buffers[a.leaf].name));
        }
      }
    }
  }

  // Each byte read comes from the last write before, through the same buffer.
  void Sources() {
    for (const Touch& read : touches_) {
      if (read.write) continue;
      const bool initial = s_.buffers[read.root].initial && read.epoch == 0;
      for (std::int64_t byte = read.begin; byte < read.end; ++byte) {
        BufferId leaf = initial ? read.leaf : -1;
        for (const Touch& w : touches_) {
          if (w.write && w.root == read.root && w.epoch == read.epoch && w.execution < read.execution &&
              w.begin <= byte && byte < w.end) {
            leaf = w.leaf;
          }
        }
        if (leaf != read.leaf) {
          return Object(fmt::format("byte {} of {} was not written", byte - read.begin, s_.buffers[read.leaf].name));
        }
      }
    }
  }

  const Schedule& s_;
  std::string verdict_;
  std::vector<Execution> all_;
  std::map<std::pair<StepId, std::int64_t>, int> index_;
  std::vector<std::pair<int, int>> entered_;  // neighbours in a queue
  std::vector<Touch> touches_;
  using Row = std::vector<std::uint64_t>;
  std::vector<Row> reach_;  // reach_[a]: bit b is set when a happens before b
  int nodes_ = 0;
};

}  // namespace

std::string RefereeVerdict(const Schedule& schedule) { return Referee(schedule).Verdict(); }

}  // namespace stowage

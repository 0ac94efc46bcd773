#include "planner/solve/placement/search.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "planner/solve/placement/bounds.h"
#include "planner/solve/placement/row.h"
#include "planner/solve/placement/run.h"

namespace stowage::placement {
namespace {

// One run's knapsack gets this many steps: greedy's answer and, for a few kinds, the proof, come within thousands.
constexpr std::int64_t kRunSteps = 20'000;

// The most that a device takes for its pinned units (needs, for kMemory).
Time MostPinned(const Tables& t) {
  Time most = 0;
  if (!t.memory()) {
    for (int d = 0; d < t.devices; ++d) most = std::max(most, t.pinned_time[d]);
    return most;
  }
  for (const int d : t.home_of) {
    if (d < 0 || d == t.devices) continue;
    most = std::max(most, t.fixed[d] + t.pinned_transient[d] + t.pinned_staging[d]);
  }
  return most;
}

class Searcher {
 public:
  // `more`: steps to complete what is furthest when *nodes_left are spent.
  Searcher(const Tables& t, const Bounds& bounds, Time upper_bound, std::int64_t* nodes_left, std::int64_t more)
      : t_(t), b_(bounds), upper_(upper_bound), nodes_left_(nodes_left), more_(more) {
    closed_.resize(static_cast<std::size_t>(2 * t.devices + 1) * (t.n + 1));
    entered_.resize(static_cast<std::size_t>(t.devices) * (t.n + 1));
    rows_.resize(t.devices);
  }

  SearchResult Run() {
    if (!Start()) return {};
    while (!queue_.empty()) {
      if (*nodes_left_ <= 0) {
        if (deep_) break;
        Capped();
      }
      const Node node = Pop();
      if (node.f >= upper_) {
        if (deep_) continue;
        break;  // all that are left are no better
      }
      Step(node);
    }
    return Found();
  }

  // From the start to the end by the best step each time, with no way back; instead of Run.
  SearchResult Dive() {
    if (!Start()) return {};
    cut_bound_ = queue_.empty() ? kInfinite : queue_.front().f;
    while (!queue_.empty() && goal_ < 0) {
      const Node node = Pop();
      if (node.device < 0) queue_.clear();
      Step(node);
    }
    return Found();
  }

 private:
  bool Start() {
    Label start;
    start.value = StartValue(t_, &start.cpu);
    start.on_cpu = true;
    start.most = MostPinned(t_);
    if (start.value >= kInfinite) return false;
    Add(start, 0);
    return true;
  }

  SearchResult Found() const {
    SearchResult r;
    r.found = goal_ >= 0;
    r.value = upper_;
    if (t_.limited() && r.found) {
      const Label& l = labels_[goal_];
      r.value = std::max(l.most, t_.by_host ? l.cpu : l.value);
    }
    r.lower_bound = r.found ? std::min(upper_, cut_bound_) : cut_bound_;
    if (r.found) r.units = Trace();
    return r;
  }

  struct Label {
    Time value = 0;
    Time cpu = 0;   // kThroughput: of the CPU's runs
    Time most = 0;  // under a limit, when the value is the CPU's time: the longest of a device
    std::int64_t host = 0, disk = 0;
    std::uint64_t disk_kinds = 0;
    int parent = -1;
    int picks = -1;  // index of the run's picks; -1: nothing streamed
    int done = 0;    // units
    int last = -1;   // the last device used
    bool on_cpu = false;
  };
  // A label to expand (device < 0), a label about to enter a device (end < 0), or a run still to be solved.
  struct Node {
    Time f;
    int done;
    int serial;
    int label;
    int device;
    int end;
  };
  // The order of a heap whose top leaves first: the least estimate, then the furthest along; once out of steps, the
  // furthest along of those whose estimates are about the same.
  struct Later {
    Time grain = 0;  // > 0: out of steps
    bool operator()(const Node& a, const Node& b) const {
      if (grain > 0 && a.f / grain != b.f / grain) return a.f / grain > b.f / grain;
      if (grain > 0 && a.done != b.done) return a.done < b.done;
      if (a.f != b.f) return a.f > b.f;
      if (a.done != b.done) return a.done < b.done;
      return a.serial > b.serial;
    }
  };
  struct Entered {
    int label;
    Time hop;
  };

  Node Pop() {
    std::pop_heap(queue_.begin(), queue_.end(), later_);
    const Node node = queue_.back();
    queue_.pop_back();
    return node;
  }
  void Push(Time f, int done, int label, int device, int end) {
    if (f >= upper_) return;
    queue_.push_back({f, done, serial_++, label, device, end});
    std::push_heap(queue_.begin(), queue_.end(), later_);
  }

  void Step(const Node& node) {
    --*nodes_left_;
    if (node.device < 0) {
      Expand(node.label, node.f);
    } else if (node.end < 0) {
      Enter(node);
    } else {
      Stream(node);
    }
  }

  Time Final(const Label& l) const { return t_.by_host ? l.value : std::max(l.value, l.cpu); }
  const std::vector<Time>& Worths(const Label& l) {
    if (worths_of_ != t_.host_room - l.host) {
      worths_of_ = t_.host_room - l.host;
      b_.Worths(worths_of_, worths_);
    }
    return worths_;
  }
  Time Estimate(const Label& l, Time more, Time rest) const {
    if (rest >= kInfinite) return kInfinite;
    return t_.sums() ? l.value + more + rest : std::max({l.value, l.cpu, more, rest});
  }

  void Add(const Label& l, Time at_least) {
    if ((t_.host_binds && l.host > t_.host_room) || (t_.disk_binds && l.disk > t_.disk_room)) return;
    const int id = static_cast<int>(labels_.size());
    Time f = Final(l);
    if (l.done < t_.n) {
      const Time rest = l.on_cpu ? b_.Cpu(l.last, l.done, Worths(l)) : b_.Gpu(l.last, l.done, Worths(l));
      f = std::max(at_least, Estimate(l, 0, rest));
    }
    if (f >= upper_) return;
    labels_.push_back(l);
    if (l.done == t_.n) {
      upper_ = f;
      goal_ = id;
      return;
    }
    Push(f, l.done, id, -1, -1);
  }

  bool Dominates(const Label& a, const Label& b) const {
    if (a.cpu > b.cpu || (a.disk_kinds & ~b.disk_kinds) != 0) return false;
    return (!t_.host_binds || a.host <= b.host) && (!t_.disk_binds || a.disk <= b.disk);
  }

  // Someone not later in the devices is at least as far, at no larger value than what is looked at now.
  bool Behind(int device, int done, bool on_cpu, Time cpu, Time f) const {
    if (done < t_.FurtherFrom()) return false;
    return std::any_of(front_[on_cpu ? 1 : 0].begin(), front_[on_cpu ? 1 : 0].end(), [&](const int id) {
      const Label& o = labels_[id];
      return o.last <= device && o.done >= done && o.cpu <= cpu && o.value <= f;
    });
  }

  // For a bottleneck, values below the estimate of what is expanded are as good as the estimate.
  void Expand(int id, Time f) {
    const Label l = labels_[id];
    const Time floor = t_.sums() ? 0 : f;
    std::vector<int>& seen = closed_[(l.on_cpu ? t_.devices + l.last + 1 : l.last) * (t_.n + 1) + l.done];
    for (const int other : seen) {
      if (labels_[other].value <= std::max(l.value, floor) && Dominates(labels_[other], l)) return;
    }
    if (Behind(l.last, l.done, l.on_cpu, l.cpu, std::max(l.value, floor))) return;
    seen.push_back(id);
    if (l.done >= t_.FurtherFrom()) front_[l.on_cpu ? 1 : 0].push_back(id);
    const int from = l.on_cpu ? t_.devices : l.last;
    for (int q = l.last + 1; q < t_.devices; ++q) {
      Push(Estimate(l, HopInto(t_, from, q, l.done), b_.Enter(q, l.done, Worths(l))), l.done, id, q, -1);
    }
    const Time compute = t_.compute[t_.devices][l.done];
    if (compute >= kNever) return;
    Label next = l;
    const std::int64_t bytes = t_.weights[l.done] + t_.state[l.done];
    (t_.sums() && !t_.by_host ? next.value : next.cpu) += t_.hop[from][t_.devices][l.done] + compute;
    if (t_.by_host) next.value += bytes;
    if (t_.by_host && next.cpu > t_.limit) return;
    next.host += bytes;
    next.done = l.done + 1;
    next.on_cpu = true;
    next.parent = id;
    next.picks = -1;
    Add(next, 0);
  }

  Time HopOf(const Label& l, int device) const { return t_.hop[l.on_cpu ? t_.devices : l.last][device][l.done]; }

  void Enter(const Node& node) {
    const Label l = labels_[node.label];
    const Time hop = HopOf(l, node.device);
    std::vector<Entered>& seen = entered_[node.device * (t_.n + 1) + l.done];
    for (const Entered& o : seen) {
      const Time other = labels_[o.label].value;
      const Time mine = t_.limited() ? l.value : std::max(l.value, node.f);
      const bool better = t_.latency() ? other + o.hop <= l.value + hop : other <= mine && o.hop <= hop;
      if (better && Dominates(labels_[o.label], l)) return;
    }
    seen.push_back({node.label, hop});
    std::optional<RunRow>& row = rows_[node.device];
    if (!row) row.emplace(t_, node.device);
    row->MoveTo(l.done);
    for (int end = l.done + 1; end <= row->last(); ++end) {
      const Time run = row->At(end);
      if (run >= kInfinite || (t_.limited() && run + hop > t_.limit)) continue;
      if (end <= row->resident_end()) {
        AddRun(node, hop, end, {run, 0, 0, 0, l.disk_kinds, {}});
      } else {
        const Time more = t_.by_host ? row->HostAt(end, hop) : t_.limited() ? 0 : run + hop;
        if (more >= kInfinite) continue;
        Push(std::max(node.f, Estimate(l, more, b_.Gpu(node.device, end, Worths(l)))), end, node.label, node.device,
             end);
      }
    }
  }

  void Stream(const Node& node) {
    const Label l = labels_[node.label];
    if (Behind(node.device, node.end, false, l.cpu, t_.limited() ? l.value : node.f)) return;
    const Time hop = HopOf(l, node.device);
    RunLimits limits{t_.host_room - l.host, t_.disk_room - l.disk, l.disk_kinds, kInfinite, kRunSteps};
    if (t_.latency()) limits.cap = upper_ - Estimate(l, hop, b_.Gpu(node.device, node.end, Worths(l)));
    if (t_.limited()) limits.cap = t_.limit - hop + 1;
    std::vector<RunOption> options;
    std::int64_t steps = 0;
    if (!SolveRun(t_, node.device, l.done, node.end, limits, options, &steps))
      cut_bound_ = std::min(cut_bound_, node.f);
    *nodes_left_ -= steps / 64;
    if (t_.by_host && !t_.disk_binds) KeepLeastOfHost(hop, options);
    for (const RunOption& o : options) AddRun(node, hop, node.end, o);
  }

  // Within the limit, less of the host is all that counts.
  void KeepLeastOfHost(Time hop, std::vector<RunOption>& options) const {
    std::erase_if(options, [&](const RunOption& o) { return hop + o.value > t_.limit; });
    const auto least = std::min_element(options.begin(), options.end(),
                                        [](const RunOption& a, const RunOption& b) { return a.host < b.host; });
    if (least != options.end()) options = {*least};
  }

  void AddRun(const Node& node, Time hop, int end, const RunOption& o) {
    Label next = labels_[node.label];
    if (t_.limited()) {
      if (hop + o.value > t_.limit) return;
      next.most = std::max(next.most, hop + o.value);
      if (t_.by_host) next.value += o.host;
    } else if (t_.latency()) {
      next.value += hop + o.value;
    } else {
      next.value = std::max(next.value, hop + o.value);
    }
    next.host += o.host;
    next.disk += o.disk;
    next.disk_kinds = o.disk_kinds;
    next.done = end;
    next.last = node.device;
    next.on_cpu = false;
    next.parent = node.label;
    next.picks = -1;
    if (!o.picks.empty()) {
      next.picks = static_cast<int>(picks_.size());
      picks_.push_back(o.picks);
    }
    Add(next, node.f);
  }

  // Out of steps: the bound stands as it is; a few more steps go to completing what is furthest.
  void Capped() {
    cut_bound_ = std::min(cut_bound_, queue_.front().f);
    deep_ = true;
    *nodes_left_ += more_;
    later_.grain = std::max<Time>(1, cut_bound_ / 50);
    std::make_heap(queue_.begin(), queue_.end(), later_);
  }

  std::vector<UnitPlacement> Trace() const {
    std::vector<UnitPlacement> units(t_.n);
    for (int id = goal_; labels_[id].parent >= 0; id = labels_[id].parent) {
      const Label& l = labels_[id];
      const int begin = labels_[l.parent].done;
      for (int u = begin; u < l.done; ++u) {
        const int run = l.on_cpu ? t_.devices : l.last;
        units[u] = {t_.home_of[u] >= 0 ? t_.home_of[u] : run, l.on_cpu ? KeptOn::kHost : KeptOn::kDevice};
      }
      if (l.picks < 0) continue;
      for (Pick p : picks_[l.picks]) {
        for (int u = l.done - 1; u >= begin; --u) {
          if (t_.kind_of[u] != p.kind) continue;
          if (p.disk > 0) {
            --p.disk;
            units[u].weights = KeptOn::kDisk;
          } else if (p.host > 0) {
            --p.host;
            units[u].weights = KeptOn::kHost;
          }
        }
      }
    }
    return units;
  }

  const Tables& t_;
  const Bounds& b_;
  Time upper_;
  std::int64_t* nodes_left_;
  std::int64_t more_;
  Time cut_bound_ = kInfinite;
  bool deep_ = false;
  int goal_ = -1;
  int serial_ = 0;
  std::int64_t worths_of_ = -1;  // room of the host
  std::vector<Time> worths_;
  std::vector<Label> labels_;
  std::deque<std::vector<Pick>> picks_;
  std::vector<Node> queue_;  // a heap
  Later later_;
  std::vector<std::vector<int>> closed_;
  std::vector<int> front_[2];  // expanded labels from further_from on; those on the CPU apart
  std::vector<std::vector<Entered>> entered_;
  std::vector<std::optional<RunRow>> rows_;  // a device
};

}  // namespace

Time StartValue(const Tables& t, Time* cpu) {
  const Time on_cpu = t.memory() ? 0 : t.pinned_time[t.devices];
  *cpu = t.latency() || (t.limited() && !t.by_host) ? 0 : on_cpu;
  if (t.limited()) {
    if (MostPinned(t) > t.limit || *cpu > t.limit) return kInfinite;
    return t.by_host ? 0 : on_cpu;
  }
  if (!t.latency()) return MostPinned(t);
  Time value = on_cpu;
  for (int d = 0; d < t.devices; ++d) value = Join(t, value, t.pinned_time[d]);
  return value;
}

SearchResult RunSearch(const Tables& t, const Bounds& bounds, Time upper_bound, std::int64_t* nodes_left,
                       std::int64_t last_steps) {
  return Searcher(t, bounds, upper_bound, nodes_left, last_steps).Run();
}

SearchResult Dive(const Tables& t, const Bounds& bounds, Time upper_bound, std::int64_t* nodes_left) {
  return Searcher(t, bounds, upper_bound, nodes_left, 0).Dive();
}

}  // namespace stowage::placement

#include "planner/solve/placement/bottleneck.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "planner/solve/placement/homes.h"
#include "planner/solve/placement/stages.h"

namespace stowage::placement {
namespace {

class Bottleneck {
 public:
  Bottleneck(const PlacementProblem& problem, Homes homes, std::int64_t* nodes_left)
      : problem_(problem), homes_(std::move(homes)), nodes_left_(nodes_left), relaxed_(MakeTables(problem, {}, true)) {
    relaxed_.by_host = relaxed_.host_binds;
  }

  SearchResult Solve(Time upper_bound) {
    const Time most = std::min(upper_bound, kInfinite / 2) - 1;
    if (!MayTake(most)) return SearchResult{};
    Time time = Least(most);
    Time step = time / kGrain + 1;
    while (!Takes(time)) {
      lower_ = time + 1;
      if (time == most || *nodes_left_ <= 0) return Ended();
      time = std::min(most, time + step);
      step *= 2;
    }
    Improve();
    return Ended();
  }

 private:
  static constexpr Time kGrain = 1024;  // the bounds alone bracket the time to a part of this

  // By the bounds.
  bool MayTake(Time time) {
    if (relaxed_.by_host && !Keeps(relaxed_, time, false)) return false;
    if (problem_.ties.empty()) return Keeps(Plain(), time, Plain().host_binds);
    homes_.Start(time, relaxed_.by_host);
    std::vector<Home> some;
    Time bound = 0;
    return homes_.Next(Below(relaxed_, time, relaxed_.by_host), some, bound);
  }

  // By the bounds, in the time of the CPU or in the bytes of the host.
  static bool Keeps(Tables& t, Time time, bool by_host) {
    const bool before = std::exchange(t.by_host, by_host);
    t.limit = time;
    const bool keeps = RootBound(t) < Below(t, time, by_host);
    t.limit = kInfinite;
    t.by_host = before;
    return keeps;
  }
  static Time Below(const Tables& t, Time time, bool by_host) { return (by_host ? t.host_room : time) + 1; }

  // By a placement, which is then the best one known.
  bool Takes(Time time) {
    homes_.Start(time, relaxed_.by_host);
    std::vector<Home> some;
    Time bound = 0;
    while (homes_.Next(Below(relaxed_, time, relaxed_.by_host), some, bound)) {
      Tables tied;
      if (!some.empty()) tied = MakeTables(problem_, some, false);
      Tables& t = some.empty() ? Plain() : tied;
      t.limit = time;
      t.by_host = t.host_binds;
      SearchResult r = Search(t, Below(t, time, t.by_host), nodes_left_);
      t.limit = kInfinite;
      t.by_host = false;
      if (!r.found) {
        if (r.lower_bound < kInfinite) undecided_ = std::min(undecided_, lower_);
        continue;
      }
      PlaceTies(problem_, some, r.units);
      best_ = std::move(r);
      return true;
    }
    return false;
  }

  Tables& Plain() {
    if (plain_.n == 0) plain_ = MakeTables(problem_, {}, false);
    return plain_;
  }

  // The least time that the bounds allow, to a grain; nothing is below lower_.
  Time Least(Time most) {
    Tables unlimited = relaxed_;
    unlimited.by_host = false;
    lower_ = std::min(most, RootBound(unlimited));
    Time time = lower_;
    while (!MayTake(time)) {
      lower_ = time + 1;
      time = std::min(most, 2 * time + 1);
    }
    while (time - lower_ > time / kGrain) {
      const Time middle = lower_ + (time - lower_) / 2;
      if (MayTake(middle)) {
        time = middle;
      } else {
        lower_ = middle + 1;
      }
    }
    return time;
  }

  // Between lower_ and the best one known. That is usually the best there is, so what is a little better is asked
  // first.
  void Improve() {
    bool halve = false;
    while (lower_<best_.value&& * nodes_left_> 0) {
      const Time time = halve ? lower_ + (best_.value - lower_) / 2 : best_.value - 1;
      halve = !halve;
      if (!MayTake(time) || !Takes(time)) lower_ = time + 1;
    }
  }

  SearchResult Ended() {
    best_.lower_bound = std::min({lower_, undecided_, best_.found ? best_.value : kInfinite});
    if (!best_.found && undecided_ >= kInfinite && *nodes_left_ > 0) best_.lower_bound = kInfinite;
    return std::move(best_);
  }

  const PlacementProblem& problem_;
  Homes homes_;
  std::int64_t* nodes_left_;
  Tables relaxed_;
  Tables plain_;
  Time lower_ = 0;
  Time undecided_ = kInfinite;  // a search that ended for want of steps leaves this as the bound
  SearchResult best_;
};

}  // namespace

bool IsBottleneck(const PlacementProblem& problem) {
  if (problem.objective == PlacementObjective::kLatency) return false;
  const Tables t = MakeTables(problem, {}, true);
  bool computes = false;
  for (int u = 0; u < t.n; ++u) computes = computes || (t.kind_of[u] >= 0 && t.compute[t.devices][u] < kNever);
  if (computes && !t.memory()) return true;
  std::int64_t tied = 0;
  for (const ChainTie& tie : problem.ties) {
    for (const std::int32_t u : tie.units) tied += (problem.units[u].weights + problem.units[u].state).value();
  }
  const bool host = std::any_of(t.kinds.begin(), t.kinds.end(), [](const Kind& k) {
    return std::any_of(k.host.begin(), k.host.end(), [](Time h) { return h < kNever; });
  });
  return t.host_binds || ((host || computes) && tied > 0 && t.host_after[0] + tied > t.host_room);
}

Result<SearchResult> SolveBottleneck(const PlacementProblem& problem, Time upper_bound, std::int64_t* nodes_left) {
  STOWAGE_TRY(Homes homes, Homes::Of(problem));
  return Bottleneck(problem, std::move(homes), nodes_left).Solve(upper_bound);
}

}  // namespace stowage::placement

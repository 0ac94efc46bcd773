#include "planner/solve/placement/bottleneck.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "planner/solve/placement/homes.h"

namespace stowage::placement {
namespace {

class Bottleneck {
 public:
  Bottleneck(const PlacementProblem& problem, Homes homes, std::int64_t* nodes_left)
      : problem_(problem), homes_(std::move(homes)), nodes_left_(nodes_left) {}

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
    if (problem_.ties.empty()) return RootBound(PlainAt(time)) <= time;
    homes_.Start(time);
    std::vector<Home> some;
    Time bound = 0;
    return homes_.Next(time + 1, some, bound);
  }

  // By a placement, which is then the best one known.
  bool Takes(Time time) {
    homes_.Start(time);
    std::vector<Home> some;
    Time bound = 0;
    while (homes_.Next(time + 1, some, bound)) {
      Tables tables;
      if (!some.empty()) tables = MakeTables(problem_, some, false);
      tables.limit = time;
      SearchResult r = Search(some.empty() ? PlainAt(time) : tables, time + 1, nodes_left_);
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

  Tables& PlainAt(Time time) {
    if (plain_.n == 0) plain_ = MakeTables(problem_, {}, false);
    plain_.limit = time;
    return plain_;
  }

  // The least time that the bounds allow, to a grain; nothing is below lower_.
  Time Least(Time most) {
    Tables relaxed = MakeTables(problem_, {}, true);
    lower_ = std::min(most, std::max<Time>(1, RootBound(relaxed)));
    Time time = lower_;
    while (!MayTake(time)) {
      lower_ = time + 1;
      time = std::min(most, 2 * time);
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
  Tables plain_;
  Time lower_ = 1;
  Time undecided_ = kInfinite;  // a search that ended for want of steps leaves this as the bound
  SearchResult best_;
};

}  // namespace

Result<SearchResult> SolveBottleneck(const PlacementProblem& problem, Time upper_bound, std::int64_t* nodes_left) {
  STOWAGE_TRY(Homes homes, Homes::Of(problem));
  return Bottleneck(problem, std::move(homes), nodes_left).Solve(upper_bound);
}

}  // namespace stowage::placement

#include "planner/solve/placement/bottleneck.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "planner/solve/placement/homes.h"

namespace stowage::placement {
namespace {

class Bottleneck {
 public:
  Bottleneck(const PlacementProblem& problem, std::int64_t* nodes_left) : problem_(problem), nodes_left_(nodes_left) {}

  Result<SearchResult> Solve(Time upper_bound) {
    const Time most = std::min(upper_bound, kInfinite / 2) - 1;
    STOWAGE_TRY(const bool possible, MayTake(most));
    if (!possible) return SearchResult{};
    STOWAGE_TRY(Time time, Least(most));
    Time step = time / kGrain + 1;
    STOWAGE_TRY(bool takes, Takes(time));
    while (!takes) {
      lower_ = time + 1;
      if (time == most || *nodes_left_ <= 0) return Ended();
      time = std::min(most, time + step);
      step *= 2;
      STOWAGE_TRY(takes, Takes(time));
    }
    STOWAGE_RETURN_IF_ERROR(Improve());
    return Ended();
  }

 private:
  static constexpr Time kGrain = 1024;  // the bounds alone bracket the time to a part of this

  // By the bounds.
  Result<bool> MayTake(Time time) {
    if (!problem_.ties.empty()) {
      STOWAGE_TRY(Homes homes, Homes::Of(problem_, time));
      std::vector<Home> some;
      Time bound = 0;
      return homes.Next(time + 1, some, bound);
    }
    if (plain_.n == 0) plain_ = MakeTables(problem_, {}, false);
    plain_.limit = time;
    return RootBound(plain_) <= time;
  }

  // By a placement, which is then the best one known.
  Result<bool> Takes(Time time) {
    STOWAGE_TRY(Homes homes, Homes::Of(problem_, time));
    std::vector<Home> some;
    Time bound = 0;
    while (homes.Next(time + 1, some, bound)) {
      Tables tables = MakeTables(problem_, some, false);
      tables.limit = time;
      SearchResult r = Search(tables, time + 1, nodes_left_);
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

  // The least time that the bounds allow, to a grain; nothing is below lower_.
  Result<Time> Least(Time most) {
    Tables relaxed = MakeTables(problem_, {}, true);
    lower_ = std::min(most, std::max<Time>(1, RootBound(relaxed)));
    Time time = lower_;
    STOWAGE_TRY(bool may, MayTake(time));
    while (!may) {
      lower_ = time + 1;
      time = std::min(most, 2 * time);
      STOWAGE_TRY(may, MayTake(time));
    }
    while (time - lower_ > time / kGrain) {
      const Time middle = lower_ + (time - lower_) / 2;
      STOWAGE_TRY(may, MayTake(middle));
      if (may) {
        time = middle;
      } else {
        lower_ = middle + 1;
      }
    }
    return time;
  }

  // Between lower_ and the best one known. That is usually the best there is, so what is a little better is asked first.
  Status Improve() {
    bool halve = false;
    while (lower_<best_.value&& * nodes_left_> 0) {
      const Time time = halve ? lower_ + (best_.value - lower_) / 2 : best_.value - 1;
      halve = !halve;
      STOWAGE_TRY(bool takes, MayTake(time));
      if (takes) {
        STOWAGE_TRY(takes, Takes(time));
      }
      if (!takes) lower_ = time + 1;
    }
    return OkStatus();
  }

  SearchResult Ended() {
    best_.lower_bound = std::min({lower_, undecided_, best_.found ? best_.value : kInfinite});
    if (!best_.found && undecided_ >= kInfinite && *nodes_left_ > 0) best_.lower_bound = kInfinite;
    return std::move(best_);
  }

  const PlacementProblem& problem_;
  std::int64_t* nodes_left_;
  Tables plain_;
  Time lower_ = 1;
  Time undecided_ = kInfinite;  // a search that ended for want of steps leaves this as the bound
  SearchResult best_;
};

}  // namespace

Result<SearchResult> SolveBottleneck(const PlacementProblem& problem, Time upper_bound, std::int64_t* nodes_left) {
  return Bottleneck(problem, nodes_left).Solve(upper_bound);
}

}  // namespace stowage::placement

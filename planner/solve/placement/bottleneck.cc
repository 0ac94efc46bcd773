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
      : problem_(problem),
        homes_(std::move(homes)),
        nodes_left_(nodes_left),
        tied_(!problem.ties.empty()),
        plain_(MakeTables(problem, {}, tied_)) {
    plain_.by_host = plain_.host_binds;
  }

  SearchResult Solve(Time upper_bound) {
    most_ = std::min(upper_bound, kInfinite / 2) - 1;
    Time time = Least({Guess(), 1, tied_ ? kTiedGrain : kGrain}, [this](Time t) { return PlainExcess(t); });
    if (tied_ && time < kInfinite) {
      time = Least({time, kTiedGrain, kGrain}, [this](Time t) { return TiedExcess(t); });
    }
    if (time >= kInfinite) return SearchResult{};
    Time step = time / kGrain + 1;
    std::int64_t share = share_ = *nodes_left_ / 64 + 1;
    while (Excess(time) > 0 || !Takes()) {
      share = share_ = std::min(2 * share, *nodes_left_ / 2 + 1);
      lower_ = time + 1;
      if (time == most_ || *nodes_left_ <= 0) return Ended();
      time = std::min(most_, time + step);
      step *= 2;
    }
    Improve();
    return Ended();
  }

 private:
  static constexpr Time kGrain = 1024;    // the bounds alone bracket the time to a part of this
  static constexpr Time kTiedGrain = 16;  // ties cost about so much of it

  // When nothing may take longer than `time`: by how much the bounds exceed what there is, in the time of the CPU or in
  // the bytes of the host. > 0: it cannot be.
  Time Excess(Time time) { return tied_ ? TiedExcess(time) : PlainExcess(time); }

  // Of the tables without ties.
  Time PlainExcess(Time time) {
    if (asked_ == time) return excess_;
    asked_ = time;
    Reopen(time);
    const Time least = FindBounds(plain_, time);
    excess_ = least >= kInfinite ? kInfinite : least - Below(plain_) + 1;
    if (excess_ <= 0 && plain_.by_host) Close(time, bounds_.rest, MakeProgress(plain_));
    return excess_;
  }

  Time TiedExcess(Time time) {
    if (tied_asked_ == time) return tied_excess_;
    tied_asked_ = time;
    Reopen(time);
    plain_.limit = time;
    below_ = Below(plain_);
    some_.clear();
    homes_.Start(time, plain_.by_host, plain_.open);
    Time least = kInfinite;
    if (!homes_.Next(below_, some_, least)) least = homes_.LeastBound();
    tied_excess_ = least >= kInfinite ? kInfinite : least - below_ + 1;
    if (tied_excess_ <= 0 && plain_.by_host) Close(time, homes_.rest(), homes_.Progress());
    return tied_excess_;
  }

  // What cannot be part of a placement within a time cannot within less: later bounds leave it out.
  void Close(Time time, const States& rest, const States& progress) {
    open_.push_back({time, OpenStates(plain_, progress, rest, Below(plain_))});
  }
  void Reopen(Time time) {
    while (!open_.empty() && open_.back().first < time) open_.pop_back();
    plain_.open = open_.empty() ? std::vector<char>() : open_.back().second;
  }

  // The least measure of a placement within the time; `bounds_` are then those of `t`.
  Time FindBounds(Tables& t, Time time) {
    t.limit = time;
    Time cpu = 0;
    const Time start = t.fits ? StartValue(t, &cpu) : kInfinite;
    if (start >= kInfinite) return kInfinite;
    bounds_ = BoundsAt(t, {});
    return Join(t, start, bounds_.Root(t.host_room));
  }

  // Is there a placement within the time asked for last? It is then the best one known.
  bool Takes() {
    if (!tied_) return Found(plain_, {});
    Time bound = 0;
    do {
      if (placed_ != some_) {
        tables_ = MakeTables(problem_, some_, false);
        tables_.by_host = tables_.host_binds;
        placed_ = some_;
      }
      tables_.open = plain_.open;
      if (FindBounds(tables_, tied_asked_) < Below(tables_) && Found(tables_, some_)) return true;
    } while (share_ > 0 && homes_.Next(below_, some_, bound));
    if (share_ <= 0) undecided_ = std::min(undecided_, lower_);
    return false;
  }

  static Time Below(const Tables& t) { return (t.by_host ? t.host_room : t.limit) + 1; }

  bool Found(const Tables& t, const std::vector<Home>& homes) {
    const std::int64_t most = std::min(*nodes_left_, share_);
    std::int64_t steps = most;
    SearchResult r = RunSearch(t, bounds_, Below(t), &steps, kLastSteps);
    *nodes_left_ -= most - std::min(steps, most);
    share_ -= most - std::min(steps, most);
    if (!r.found) {
      if (r.lower_bound < kInfinite) undecided_ = std::min(undecided_, lower_);
      return false;
    }
    PlaceTies(problem_, homes, r.units);
    best_ = std::move(r);
    return true;
  }

  // Where to start looking, by what is needed without a limit of the host; nothing is below lower_.
  Time Guess() {
    Tables unlimited = plain_;
    unlimited.by_host = false;
    unlimited.limit = kInfinite;
    unlimited.open.clear();
    lower_ = std::min(most_, RootBound(unlimited));
    if (!plain_.memory()) return lower_;
    std::int64_t all = 0;
    for (int u = 0; u < plain_.n; ++u) all += plain_.weights[u] + plain_.state[u];
    return std::clamp(all / plain_.devices / 8, lower_, most_);
  }

  // A time, and its excess there.
  struct Asked {
    Time time = 0, excess = kInfinite;
  };

  // A time to begin with, which part of it the first step is, and to which part the answer is found.
  struct Steps {
    Time time, first, grain;
  };

  // The least time whose excess is not above 0, to a grain, and nothing is below lower_; kInfinite if there is none.
  template <typename Excess>
  Time Least(const Steps& steps, Excess excess) {
    Time time = steps.time;
    Asked over, under{time, excess(time)};
    Time step = time / steps.first + 1;
    for (Time grow = 2; under.excess > 0; ++grow) {
      if (time >= most_) return kInfinite;
      const Time next = Extrapolated(over, under, time + step);
      lower_ = time + 1;
      over = under;
      time = std::min(most_, next);
      step = step > most_ / grow ? most_ : step * grow;
      under = {time, excess(time)};
    }
    while (under.time - lower_ > under.time / steps.grain) {
      const Time middle = lower_ + (under.time - lower_) / 2;
      const Asked now{middle, excess(middle)};
      if (now.excess > 0) {
        lower_ = middle + 1;
      } else {
        under = now;
      }
    }
    return under.time;
  }

  // A little more than where the excess is 0 if it is linear, but not beyond `most`.
  static Time Extrapolated(const Asked& a, const Asked& b, Time most) {
    if (a.excess >= kInfinite || a.excess <= b.excess) return most;
    const double slope = static_cast<double>(a.excess - b.excess) / static_cast<double>(b.time - a.time);
    const double more = static_cast<double>(b.excess) / slope * 1.125;
    return static_cast<double>(b.time) + more < static_cast<double>(most) ? b.time + static_cast<Time>(more) + 1 : most;
  }

  // Between lower_ and the best one known. That is usually the best there is, so what is a little better is asked
  // first.
  void Improve() {
    bool halve = false;
    while (*nodes_left_ > 0 && lower_ < best_.value) {
      const Time time = halve ? lower_ + (best_.value - lower_) / 2 : best_.value - 1;
      halve = !halve;
      share_ = *nodes_left_ / 2 + 1;
      if (Excess(time) > 0 || !Takes()) lower_ = time + 1;
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
  bool tied_;
  Time most_ = 0;
  Tables plain_;   // with ties: relaxed
  Tables tables_;  // with ties, at `placed_`
  std::vector<Home> placed_;
  Bounds bounds_;                                         // of the tables looked at last
  std::vector<std::pair<Time, std::vector<char>>> open_;  // Tables::open for a time and less, the least time last
  // What was asked last, and the choice of homes that the bounds allow then.
  Time asked_ = -1, excess_ = 0;
  Time tied_asked_ = -1, tied_excess_ = 0, below_ = 0;
  std::vector<Home> some_;
  std::int64_t share_ = 0;  // of the steps: so many for one time
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

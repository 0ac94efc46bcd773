#include "planner/solve/placement/stages.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace stowage::placement {
namespace {

// A glance: enough where the bound is hardly below the optimum.
constexpr std::int64_t kGlance = 150;

// A placement to start from, of which nothing is proven. A plain dive counts on a CPU that computes all that is left
// until host memory is full, and then has nowhere to go; so the CPU is given the first units that fit, or else the last.
SearchResult SomePlacement(Tables& t, const Bounds& bounds, Time upper, std::int64_t* nodes_left) {
  if (!LevelsOf(t, false, 0)) return Dive(t, bounds, upper, nodes_left);
  const std::vector<Time> compute = t.compute[t.devices];
  SearchResult r;
  for (const bool first : {true, false}) {
    std::int64_t room = t.host_room;
    for (int i = 0; i < t.n; ++i) {
      const int u = first ? i : t.n - 1 - i;
      if (room >= 0 && compute[u] < kNever) room -= t.weights[u] + t.state[u];
      if (room < 0) t.compute[t.devices][u] = kNever;
    }
    const Bounds some{MakeRest(t), bounds.worth, {}, {}};
    r = Dive(t, some, upper, nodes_left);
    t.compute[t.devices] = compute;
    if (r.found) break;
  }
  return r;
}

// The best placement of several searches, each below what is known before it.
class Best {
 public:
  explicit Best(Time upper) : upper_(upper) {}

  Time upper() const { return upper_; }
  // Of a search that proves what it says. True: nothing better is left.
  bool Take(SearchResult r) {
    lower_ = std::min(r.lower_bound, r.found ? r.value : upper_);
    if (r.found) Improve(std::move(r));
    return lower_ >= upper_;
  }
  void Improve(SearchResult r) {
    if (!r.found) return;
    upper_ = r.value;
    best_ = std::move(r);
  }
  SearchResult Get() && {
    best_.lower_bound = lower_ >= upper_ && !best_.found ? kInfinite : std::min(lower_, upper_);
    return std::move(best_);
  }

 private:
  Time upper_;
  Time lower_ = 0;
  SearchResult best_;
};

SearchResult AFewSteps(const Tables& t, const Bounds& bounds, Time upper, std::int64_t* nodes_left) {
  std::int64_t steps = std::min(*nodes_left, kGlance);
  *nodes_left -= steps;
  SearchResult r = RunSearch(t, bounds, upper, &steps, 0);
  *nodes_left += steps;
  return r;
}

Time WithoutStart(const Tables& t, Time value) {
  Time cpu = 0;
  return value - StartValue(t, &cpu);
}

}  // namespace

Time RootBound(Tables& t) {
  if (!t.fits) return kInfinite;
  Time cpu = 0;
  const Time start = StartValue(t, &cpu);
  const Time rest = BoundsAt(t, BestPrices(t)).Root(t.host_room);
  if (start >= kInfinite || rest >= kInfinite) return kInfinite;
  return t.by_host ? rest : std::max(Join(t, start, rest), cpu);
}

SearchResult Glance(Tables& t, const Prices& prices, Time upper_bound, std::int64_t* nodes_left) {
  if (!t.fits) return {};
  const Bounds bounds = BoundsAt(t, prices);
  Best best(upper_bound);
  if (!best.Take(AFewSteps(t, bounds, best.upper(), nodes_left))) {
    best.Improve(SomePlacement(t, bounds, best.upper(), nodes_left));
  }
  return std::move(best).Get();
}

SearchResult SearchAt(Tables& t, const Known& known, Time upper_bound, std::int64_t* nodes_left) {
  if (!t.fits) return {};
  Bounds bounds = BoundsAt(t, known.prices);
  if (HasPrices(t)) {
    bounds = WithLayers(t, known.prices, std::move(bounds), WithoutStart(t, upper_bound), known.progress);
  }
  return RunSearch(t, bounds, upper_bound, nodes_left, kLastSteps);
}

SearchResult Search(Tables& t, Time upper_bound, std::int64_t* nodes_left) {
  if (!HasPrices(t) || !t.fits) return SearchAt(t, {{}, nullptr}, upper_bound, nodes_left);
  Best best(upper_bound);
  if (best.Take(AFewSteps(t, BoundsAt(t, {}), best.upper(), nodes_left))) return std::move(best).Get();
  Prices prices = LevelGains(t);
  Bounds bounds = BoundsAt(t, prices);
  if (best.Take(AFewSteps(t, bounds, best.upper(), nodes_left))) return std::move(best).Get();
  best.Improve(SomePlacement(t, bounds, best.upper(), nodes_left));
  if (!LevelsOf(t, false, 0)) {
    prices = BestPrices(t);
    bounds = BoundsAt(t, prices);
  }
  bounds = WithLayers(t, prices, std::move(bounds), WithoutStart(t, best.upper()), nullptr);
  best.Take(RunSearch(t, bounds, best.upper(), nodes_left, kLastSteps));
  return std::move(best).Get();
}

}  // namespace stowage::placement

#include "planner/solve/placement/homes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "planner/solve/placement/row.h"

namespace stowage::placement {
namespace {

constexpr std::size_t kMostChoices = 20'000;

std::vector<Home> HomesOf(const PlacementProblem& p) {
  std::vector<Home> homes;
  for (std::int32_t d = 0; d < static_cast<std::int32_t>(p.devices.size()); ++d) {
    homes.push_back({d, KeptOn::kDevice});
    if (p.host_budget > Bytes(0)) homes.push_back({d, KeptOn::kHost});
    if (p.disk_budget > Bytes(0)) homes.push_back({d, KeptOn::kDisk});
  }
  homes.push_back({static_cast<std::int32_t>(p.devices.size()), KeptOn::kHost});
  return homes;
}

// What tied units take at their home; kInfinite if they cannot be computed there.
Time TimeAt(const PlacementProblem& p, const ChainTie& tie, const Home& home) {
  if (p.objective == PlacementObjective::kMemory) return 0;
  Time time = 0;
  for (const std::int32_t u : tie.units) {
    const ChainUnit& unit = p.units[u];
    if (home.device == static_cast<std::int32_t>(p.devices.size())) {
      time += Picoseconds(unit.cpu_seconds);
    } else {
      time += Picoseconds(unit.seconds[home.device]);
      if (home.weights == KeptOn::kHost) time += Picoseconds(unit.host_stream[home.device]);
      if (home.weights == KeptOn::kDisk) time += Picoseconds(unit.disk_stream[home.device]);
    }
    if (time >= kNever) return kInfinite;
  }
  return time;
}

std::int64_t WeightsOf(const PlacementProblem& p, const ChainTie& tie) {
  std::int64_t weights = -(static_cast<std::int64_t>(tie.units.size()) - 1) * tie.shared.value();
  for (const std::int32_t u : tie.units) weights += p.units[u].weights.value();
  return weights;
}

std::int64_t StateOf(const PlacementProblem& p, const ChainTie& tie) {
  std::int64_t state = 0;
  for (const std::int32_t u : tie.units) state += p.units[u].state.value();
  return state;
}

}  // namespace

void PlaceTies(const PlacementProblem& problem, const std::vector<Home>& homes, std::vector<UnitPlacement>& units) {
  for (std::size_t i = 0; i < problem.ties.size(); ++i) {
    const bool cpu = homes[i].device == static_cast<std::int32_t>(problem.devices.size());
    for (const std::int32_t u : problem.ties[i].units) {
      units[u] = {homes[i].device, cpu ? KeptOn::kHost : homes[i].weights};
    }
  }
}

bool Homes::Later(const Choice& a, const Choice& b) {
  return a.bound != b.bound ? a.bound > b.bound : a.homes > b.homes;
}

Result<Homes> Homes::Of(const PlacementProblem& problem) {
  Homes homes(problem);
  std::vector<Choice>& all = homes.all_;
  all.resize(1);
  for (std::size_t i = 0; i < problem.ties.size(); ++i) {
    std::vector<Choice> longer;
    for (const Choice& c : all) {
      for (int h = 0; h < static_cast<int>(homes.homes_.size()); ++h) {
        longer.push_back(c);
        longer.back().homes.push_back(h);
      }
    }
    if (longer.size() > kMostChoices) {
      return Error{ErrorCode::kInvalidInput, fmt::format("{} ties are too many", problem.ties.size())};
    }
    all = std::move(longer);
  }
  return homes;
}

Homes::Homes(const PlacementProblem& problem) : problem_(&problem) {
  if (problem.ties.empty()) return;
  tables_ = MakeTables(problem, {}, true);
  homes_ = HomesOf(problem);
}

void Homes::Start(Time limit, bool by_host, std::vector<char> open) {
  heap_.clear();
  if (problem_->ties.empty()) {
    heap_.emplace_back();
    return;
  }
  tables_.limit = limit;
  tables_.by_host = by_host;
  tables_.open = std::move(open);
  sharpened_ = false;
  prices_ = {};
  levels_ = {};
  heap_ = all_;
  Refresh();
}

void Homes::Sharpen(Time below) {
  sharpened_ = true;
  heap_.push_back(last_);
  levels_ = LevelsOf(tables_, false, below);
  prices_ = levels_ ? LevelGains(tables_) : BestPrices(tables_);
  Refresh();
  if (!levels_) return;
  FindProgress();
  Time pinned = kInfinite;
  for (const Choice& c : heap_) pinned = std::min(pinned, Pinned(c));
  below_ = below - pinned + bounds_.worth.Most(tables_.host_room);
  const Band band{progress_, bounds_.rest, below_};
  tables_.open = OpenStates(tables_, progress_, bounds_.rest, below_);
  layered_rest_ = LayeredRest(tables_, levels_, band);
  layered_progress_ = LayeredProgress(tables_, levels_, band);
}

// The bounds of the choices in the heap, under the prices there are.
void Homes::Refresh() {
  bounds_ = BoundsAt(tables_, prices_);
  has_progress_ = false;
  rest_.assign(problem_->ties.size(), std::vector<Time>(homes_.size(), -1));
  for (Choice& c : heap_) {
    c.refined = false;
    c.bound = std::max(c.bound, Bounded(c, *bounds_.rest.Cpu(-1, 0)));
  }
  heap_.erase(std::remove_if(heap_.begin(), heap_.end(), [](const Choice& c) { return c.bound >= kInfinite; }),
              heap_.end());
  std::make_heap(heap_.begin(), heap_.end(), Later);
}

bool Homes::Next(Time below, std::vector<Home>& homes, Time& bound) {
  while (!heap_.empty() && heap_.front().bound < below) {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Choice c = std::move(heap_.back());
    heap_.pop_back();
    // The first one of all, before any placement is known, is only to be looked at.
    const bool first = below >= kInfinite && CanSharpen();
    if (!c.refined && !first && !c.homes.empty()) {
      Time rest = 0;
      for (std::size_t i = 0; i < c.homes.size(); ++i) rest = std::max(rest, Rest(i, c.homes[i]));
      c.refined = true;
      c.bound = std::max(c.bound, Bounded(c, rest));
      if (c.bound >= kInfinite) continue;
      if (!tables_.limited() || c.bound >= below) {
        heap_.push_back(std::move(c));
        std::push_heap(heap_.begin(), heap_.end(), Later);
        continue;
      }
    }
    bound = c.bound;
    homes.clear();
    for (const int h : c.homes) homes.push_back(homes_[h]);
    last_ = std::move(c);
    return true;
  }
  return false;
}

std::vector<char> Homes::Open(Time below) {
  const Tables& t = tables_;
  if (problem_->ties.empty() || !t.latency()) return {};
  FindProgress();
  const std::int64_t room = t.host_room - HostBytes(last_);
  const Time way = below - Pinned(last_) + bounds_.worth.Most(room);
  std::vector<char> open = OpenStates(t, progress_, bounds_.rest, way);
  if (!levels_) return open;
  const int layers = levels_.Of(room) + 1;
  for (int q = 0; q < t.devices; ++q) {
    for (int i = 0; i < t.n; ++i) {
      char& here = open[q * (t.n + 1) + i];
      if (here != 0) here = LeastOf(layered_progress_.Enter(q, i), layered_rest_.Enter(q, i), layers) < way ? 1 : 0;
    }
  }
  return open;
}

// With so many layers for what came before and what remains together.
Time Homes::LeastOf(const double* before, const double* after, int layers) const {
  double least = std::numeric_limits<double>::infinity();
  for (int k = 0; k < layers; ++k) least = std::min(least, before[k] + after[layers - 1 - k]);
  return levels_.TimeOf(least);
}

// What the tied units take by themselves: all of it for kLatency, the busiest for kThroughput, the CPU's under a limit.
Time Homes::Pinned(const Choice& c) const {
  std::vector<Time> time(problem_->devices.size() + 1, 0);
  for (std::size_t i = 0; i < c.homes.size(); ++i) {
    const Home& home = homes_[c.homes[i]];
    const Time more = TimeAt(*problem_, problem_->ties[i], home);
    if (more >= kInfinite) return kInfinite;
    time[home.device] += more;
  }
  Time all = 0, most = 0;
  for (const Time t : time) {
    all += t;
    most = std::max(most, t);
  }
  if (tables_.by_host) return most <= tables_.limit ? HostBytes(c) : kInfinite;
  if (tables_.limited()) return most <= tables_.limit ? time.back() : kInfinite;
  return tables_.latency() ? all : most;
}

Time Homes::Bounded(const Choice& c, Time rest) const {
  const Time pinned = Pinned(c);
  if (pinned >= kInfinite || rest >= kInfinite) return kInfinite;
  const std::int64_t room = tables_.host_room - HostBytes(c);
  if (room < 0) return kInfinite;
  if (!tables_.sums()) return std::max(pinned, rest);
  return pinned + rest - bounds_.worth.Most(room);
}

std::int64_t Homes::HostBytes(const ChainTie& tie, const Home& home) const {
  if (home.weights != KeptOn::kHost) return 0;
  return WeightsOf(*problem_, tie) + (home.device == tables_.devices ? StateOf(*problem_, tie) : 0);
}

std::int64_t Homes::HostBytes(const Choice& c) const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < c.homes.size(); ++i) bytes += HostBytes(problem_->ties[i], homes_[c.homes[i]]);
  return bytes;
}

Burden Homes::BurdenOf(const ChainTie& tie, const Home& home) const {
  Burden b{StateOf(*problem_, tie), 0, 0, TimeAt(*problem_, tie, home)};
  const bool resident = home.weights == KeptOn::kDevice;
  if (resident) b.bytes += WeightsOf(*problem_, tie);
  for (const std::int32_t u : tie.units) {
    b.transient = std::max(b.transient, problem_->units[u].transient.value());
    if (!resident) b.staging = std::max(b.staging, problem_->units[u].staging.value());
  }
  return b;
}

void Homes::FindProgress() {
  if (has_progress_) return;
  has_progress_ = true;
  const Tables& t = tables_;
  progress_ = MakeProgress(t);
  const int all = t.devices;
  skip_.assign(all, kInfinite);
  const auto from = [&](int p, int place, int i, Time so_far) {  // the last device was p; `place` computed last
    if (so_far >= kInfinite) return;
    Time rest = i == t.n ? 0 : kInfinite;  // with devices after d alone
    for (int d = all - 1; d > p; --d) {
      skip_[d] = std::min(skip_[d], Join(t, so_far, rest));
      if (i < t.n) rest = std::min(rest, Join(t, HopInto(t, place, d, i), *bounds_.rest.Enter(d, i)));
    }
  };
  std::vector<Time> rest(all + 1);  // with devices from d on alone, when hops do not count
  for (int i = 0; i <= t.n; ++i) {
    rest[all] = i == t.n ? 0 : kInfinite;
    for (int d = all - 1; d >= 0; --d) rest[d] = std::min(rest[d + 1], *bounds_.rest.Enter(d, i));
    Time before = kInfinite;  // with devices up to p
    for (int p = -1; p < all; ++p) {
      if (t.latency()) {
        from(p, all, i, *progress_.Cpu(p, i));
        if (p >= 0) from(p, p, i, *progress_.Gpu(p, i));
      } else {
        before = std::min({before, *progress_.Cpu(p, i), p >= 0 ? *progress_.Gpu(p, i) : kInfinite});
        if (p + 1 < all) skip_[p + 1] = std::min(skip_[p + 1], Join(t, before, rest[p + 2]));
      }
    }
  }
}

// Least hops between the tied units on `device` and their neighbours elsewhere: before[i] of neighbours before unit i,
// after[i] of those from unit i on.
void Homes::FindHops(const ChainTie& tie, int device, std::vector<Time>& before, std::vector<Time>& after) const {
  const int n = tables_.n;
  std::vector<Time> of(n, 0);  // a neighbour
  const auto pinned = [&](int u) { return tables_.kind_of[u] < 0; };
  const auto add = [&](int neighbour, int boundary, bool into_tie) {
    Time least = kInfinite;
    for (int x = 0; x <= tables_.devices; ++x) {
      if (x == device) continue;
      const ChainLink& link = into_tie ? problem_->links[x][device] : problem_->links[device][x];
      least = std::min(least, Picoseconds(link.latency + problem_->units[boundary].boundary / link.rate));
    }
    of[neighbour] += least;
  };
  for (const std::int32_t u : tie.units) {
    if (u > 0 && !pinned(u - 1)) add(u - 1, u - 1, true);
    if (u + 1 < n && !pinned(u + 1)) add(u + 1, u, false);
  }
  before.assign(n + 1, 0);
  after.assign(n + 1, 0);
  for (int i = 0; i < n; ++i) before[i + 1] = before[i] + of[i];
  for (int i = n - 1; i >= 0; --i) after[i] = after[i + 1] + of[i];
}

Time Homes::Rest(std::size_t tie, int home) {
  Time& rest = rest_[tie][home];
  if (rest >= 0) return rest;
  FindProgress();
  rest = RestBeside(problem_->ties[tie], homes_[home]);
  return rest;
}

// What comes before device `device` runs [begin, end), the run and what remains, with so many layers for all.
Time Homes::LayeredWay(int device, int begin, int end, Time run, int layers) const {
  const Time rest = LeastOf(layered_progress_.Enter(device, begin), layered_rest_.Gpu(device, end), layers);
  return rest >= kInfinite ? kInfinite : rest + run;
}

Time Homes::RestBeside(const ChainTie& tie, const Home& home) const {
  const Tables& t = tables_;
  const int d = home.device;
  int layers = 0;
  if (levels_) {
    const std::int64_t room = t.host_room - HostBytes(tie, home);
    if (room < 0) return kInfinite;
    layers = levels_.Of(room) + 1;
  }
  if (d == t.devices) return levels_ ? levels_.TimeOf(layered_rest_.Cpu(-1, 0)[layers - 1]) : *bounds_.rest.Cpu(-1, 0);
  const Burden burden = BurdenOf(tie, home);
  const std::int64_t alone = t.fixed[d] + burden.bytes + burden.transient + burden.staging;
  if (alone > t.budget[d]) return kInfinite;
  std::vector<Time> before, after;
  if (t.latency()) {
    FindHops(tie, d, before, after);
  } else {
    before.assign(t.n + 1, 0);
    after.assign(t.n + 1, 0);
  }
  Time best = skip_[d] >= kInfinite ? kInfinite : skip_[d] + before[t.n];
  if (t.by_host && t.memory() && alone > t.limit) return kInfinite;
  if (t.memory() && !t.by_host) best = std::max(best, alone);
  // More than the host has is no way.
  const Time most = t.by_host ? t.host_room + 1 - HostBytes(tie, home) : kInfinite;
  best = std::min(best, most);
  RunRow row(t, d, burden);
  for (int b = 0; b < t.n; ++b) {
    const Time enter = *progress_.Enter(d, b);
    if (!t.Open(d, b) || enter >= best) continue;
    const auto hopeless = [&](int e) { return t.sums() && enter + *bounds_.rest.Gpu(d, e) >= best; };
    int e = b + 1;
    while (e < t.n && hopeless(e)) ++e;
    if (hopeless(e)) continue;
    row.MoveTo(b);
    const int last = LastEnd(t, row, d, b);
    for (; e <= last; ++e) {
      if (hopeless(e)) continue;
      const Time run = Count(t, row, d, b, e);
      Time all = Join(t, Join(t, enter, run), *bounds_.rest.Gpu(d, e));
      if (all >= kInfinite || all + before[b] + after[e] >= best) continue;
      if (layers > 0 && all < below_) all = LayeredWay(d, b, e, run, layers);
      if (all < kInfinite) best = std::min(best, all + before[b] + after[e]);
    }
  }
  return best < most ? best : kInfinite;
}

}  // namespace stowage::placement

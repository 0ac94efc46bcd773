#include "planner/solve/placement/homes.h"

#include <fmt/format.h>

#include <algorithm>
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
  homes.Start(kInfinite);
  return homes;
}

Homes::Homes(const PlacementProblem& problem) : problem_(&problem) {
  if (problem.ties.empty()) return;
  tables_ = MakeTables(problem, {}, true);
  homes_ = HomesOf(problem);
}

void Homes::Start(Time limit) {
  heap_.clear();
  if (problem_->ties.empty()) {
    heap_.emplace_back();
    return;
  }
  tables_.limit = limit;
  bounds_ = BestBounds(tables_);
  progress_ = MakeProgress(tables_);
  FindSkips();
  rest_.assign(problem_->ties.size(), std::vector<Time>(homes_.size(), -1));
  for (Choice c : all_) {
    c.bound = Bounded(c, bounds_.Root());
    if (c.bound < kInfinite) heap_.push_back(std::move(c));
  }
  std::make_heap(heap_.begin(), heap_.end(), Later);
}

bool Homes::Next(Time below, std::vector<Home>& homes, Time& bound) {
  while (!heap_.empty() && heap_.front().bound < below) {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Choice c = std::move(heap_.back());
    heap_.pop_back();
    if (!c.refined && !c.homes.empty()) {
      Time rest = 0;
      for (std::size_t i = 0; i < c.homes.size(); ++i) rest = std::max(rest, Rest(i, c.homes[i]));
      c.refined = true;
      c.bound = std::max(c.bound, Bounded(c, rest));
      if (c.bound >= kInfinite) continue;
      heap_.push_back(std::move(c));
      std::push_heap(heap_.begin(), heap_.end(), Later);
      continue;
    }
    bound = c.bound;
    homes.clear();
    for (const int h : c.homes) homes.push_back(homes_[h]);
    return true;
  }
  return false;
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

std::int64_t Homes::HostBytes(const Choice& c) const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < c.homes.size(); ++i) {
    const Home& home = homes_[c.homes[i]];
    if (home.weights != KeptOn::kHost) continue;
    bytes += WeightsOf(*problem_, problem_->ties[i]);
    if (home.device == tables_.devices) bytes += StateOf(*problem_, problem_->ties[i]);
  }
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

void Homes::FindSkips() {
  const Tables& t = tables_;
  const int all = t.devices;
  skip_.assign(all, kInfinite);
  const auto from = [&](int p, int place, int i, Time so_far) {  // the last device was p; `place` computed last
    if (so_far >= kInfinite) return;
    Time rest = i == t.n ? 0 : kInfinite;  // with devices after d alone
    for (int d = all - 1; d > p; --d) {
      skip_[d] = std::min(skip_[d], Join(t, so_far, rest));
      if (i < t.n) rest = std::min(rest, Join(t, HopInto(t, place, d, i), bounds_.All().enter[d][i]));
    }
  };
  std::vector<Time> rest(all + 1);  // with devices from d on alone, when hops do not count
  for (int i = 0; i <= t.n; ++i) {
    rest[all] = i == t.n ? 0 : kInfinite;
    for (int d = all - 1; d >= 0; --d) rest[d] = std::min(rest[d + 1], bounds_.All().enter[d][i]);
    Time before = kInfinite;  // with devices up to p
    for (int p = -1; p < all; ++p) {
      if (t.latency()) {
        from(p, all, i, progress_.cpu[p + 1][i]);
        if (p >= 0) from(p, p, i, progress_.gpu[p][i]);
      } else {
        before = std::min({before, progress_.cpu[p + 1][i], p >= 0 ? progress_.gpu[p][i] : kInfinite});
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
  if (rest < 0) rest = RestBeside(problem_->ties[tie], homes_[home]);
  return rest;
}

Time Homes::RestBeside(const ChainTie& tie, const Home& home) const {
  const Tables& t = tables_;
  const int d = home.device;
  if (d == t.devices) return bounds_.Root();
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
  if (t.memory()) best = std::max(best, alone);
  RunRow row(t, d, burden);
  const std::vector<Time>& rest = bounds_.All().gpu[d];
  for (int b = 0; b < t.n; ++b) {
    const Time enter = progress_.enter[d][b];
    if (enter >= kInfinite) continue;
    row.MoveTo(b);
    const int last = t.limited() ? row.EndWithin(t.limit - t.least_hop[d][b]) : row.last();
    for (int e = b + 1; e <= last; ++e) {
      const Time all = Join(t, Join(t, enter, Count(t, d, b, row.At(e))), rest[e]);
      if (all < kInfinite) best = std::min(best, all + before[b] + after[e]);
    }
  }
  return best;
}

}  // namespace stowage::placement

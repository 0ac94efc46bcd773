#include "planner/solve/placement/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "planner/base/check.h"
#include "planner/base/text.h"
#include "planner/solve/placement/bottleneck.h"
#include "planner/solve/placement/homes.h"
#include "planner/solve/placement/orders.h"
#include "planner/solve/placement/search.h"
#include "planner/solve/placement/stages.h"
#include "planner/solve/placement/tables.h"

namespace stowage {
namespace {

using placement::Home;
using placement::Homes;
using placement::kInfinite;
using placement::Tables;
using placement::Time;

Error Invalid(std::string message) { return {ErrorCode::kInvalidInput, std::move(message)}; }

Status CheckUnit(const ChainUnit& u, std::size_t devices) {
  if (u.seconds.size() != devices || u.host_stream.size() != devices || u.disk_stream.size() != devices) {
    return Invalid(fmt::format("unit '{}' does not give its times for each of the {} devices", u.name, devices));
  }
  for (const Bytes b : {u.weights, u.state, u.transient, u.staging, u.boundary}) {
    if (b < Bytes(0) || b > Bytes(1'000'000'000'000'000)) {
      return Invalid(fmt::format("unit '{}' has a size of {} B; sizes are 0 to 1 PB", u.name, b.value()));
    }
  }
  bool good = u.cpu_seconds >= Seconds(0);
  for (std::size_t d = 0; d < devices; ++d) {
    good = good && u.seconds[d] >= Seconds(0) && u.host_stream[d] >= Seconds(0) && u.disk_stream[d] >= Seconds(0);
  }
  if (!good) return Invalid(fmt::format("unit '{}' has a time below zero", u.name));
  return OkStatus();
}

Status CheckTies(const PlacementProblem& p) {
  std::vector<bool> tied(p.units.size(), false);
  for (const ChainTie& tie : p.ties) {
    for (const std::int32_t u : tie.units) {
      if (u < 0 || u >= static_cast<std::int32_t>(p.units.size()))
        return Invalid(fmt::format("a tie names unit {}", u));
      if (tied[u]) return Invalid(fmt::format("unit '{}' is tied twice", p.units[u].name));
      if (tie.shared > p.units[u].weights || tie.shared < Bytes(0)) {
        return Invalid(fmt::format("unit '{}' shares {} of {}", p.units[u].name, FormatBytes(tie.shared),
                                   FormatBytes(p.units[u].weights)));
      }
      tied[u] = true;
    }
    if (tie.units.empty()) return Invalid("a tie without units");
  }
  return OkStatus();
}

Status Check(const PlacementProblem& p) {
  const std::size_t devices = p.devices.size();
  if (p.units.empty()) return Invalid("a chain without units");
  if (devices < 1 || devices > 16) return Invalid(fmt::format("{} devices; 1 to 16 can be planned", devices));
  for (const ChainUnit& u : p.units) STOWAGE_RETURN_IF_ERROR(CheckUnit(u, devices));
  bool square = p.links.size() == devices + 1;
  for (const auto& row : p.links) square = square && row.size() == devices + 1;
  if (!square) return Invalid(fmt::format("the links are no table of {0} x {0}", devices + 1));
  for (const auto& row : p.links) {
    for (const ChainLink& link : row) {
      if (!(link.latency >= Seconds(0)) || !(link.rate > BytesPerSecond(0))) return Invalid("a link without a rate");
    }
  }
  return CheckTies(p);
}

constexpr Time kNear = 1024;  // a value that exceeds its bound by less than this part

struct Best {
  Time value = kInfinite;
  Time lower_bound = kInfinite;
  std::vector<UnitPlacement> units;
  std::vector<std::int32_t> order;
};

void Improve(Best& best, placement::SearchResult r, const std::vector<std::int32_t>& order) {
  best.value = r.value;
  best.units = std::move(r.units);
  best.order = order;
}

// Improves *best with the given order of the devices.
Status SolveOrder(const PlacementProblem& p, const std::vector<std::int32_t>& order, Best& best, std::int64_t* nodes) {
  if (placement::IsBottleneck(p)) {
    STOWAGE_TRY(placement::SearchResult r, placement::SolveBottleneck(p, best.value, nodes));
    best.lower_bound = std::min(best.lower_bound, r.lower_bound);
    if (r.found) Improve(best, std::move(r), order);
    return OkStatus();
  }
  STOWAGE_TRY(Homes all, Homes::Of(p));
  all.Start(kInfinite, false, {});
  std::vector<Home> homes;
  Time bound = 0;
  const auto take = [&](placement::SearchResult r) {
    placement::PlaceTies(p, homes, r.units);
    Improve(best, std::move(r), order);
  };
  while (all.Next(best.value, homes, bound)) {
    Tables tables = placement::MakeTables(p, homes, false);
    if (*nodes <= 0 && best.value < kInfinite) {
      best.lower_bound = std::min(best.lower_bound, std::max(bound, placement::RootBound(tables)));
      continue;
    }
    const bool tied = !homes.empty();
    placement::SearchResult r;
    if (tied && all.CanSharpen()) {
      r = placement::Glance(tables, all.prices(), best.value, nodes);
      if (r.lower_bound < r.value && r.lower_bound < best.value) {
        if (r.found) take(std::move(r));
        all.Sharpen(best.value);
        continue;
      }
    } else {
      // The bound is often close: then little is left to look at.
      const Time near = tied ? std::min(best.value, bound + bound / kNear + 1) : best.value;
      const auto search = [&](Time below) {
        tables.open = all.Open(below);
        return tied ? placement::SearchAt(tables, {all.prices(), &all.Progress()}, below, nodes)
                    : placement::Search(tables, below, nodes);
      };
      r = search(near);
      if (!r.found && *nodes > 0 && near < best.value) r = search(best.value);
    }
    best.lower_bound = std::min(best.lower_bound, r.lower_bound);
    if (r.found) take(std::move(r));
  }
  return OkStatus();
}

Status SolveAll(const PlacementProblem& p, Best& best, std::int64_t* nodes) {
  std::vector<std::int32_t> given(p.devices.size());
  std::iota(given.begin(), given.end(), 0);
  STOWAGE_RETURN_IF_ERROR(SolveOrder(p, given, best, nodes));
  if (!p.any_order) return OkStatus();
  placement::Orders orders(p);
  const Time free_order = placement::OrderFreeBound(p);
  // An order that finds nothing better still costs its bounds.
  const auto price = static_cast<std::int64_t>(p.units.size() * p.devices.size());
  while (best.value > free_order && orders.Next()) {
    if (*nodes <= 0) {
      best.lower_bound = std::min(best.lower_bound, free_order);
      break;
    }
    if (orders.order() == given) continue;
    *nodes -= price;
    Best here{best.value, kInfinite, {}, {}};
    STOWAGE_RETURN_IF_ERROR(SolveOrder(placement::Permuted(p, orders.order()), orders.order(), here, nodes));
    best.lower_bound = std::min(best.lower_bound, here.lower_bound);
    if (here.units.empty()) continue;
    for (UnitPlacement& u : here.units) {
      if (u.device < static_cast<std::int32_t>(given.size())) u.device = orders.order()[u.device];
    }
    best.value = here.value;
    best.units = std::move(here.units);
    best.order = std::move(here.order);
  }
  best.lower_bound = std::max(best.lower_bound, free_order);
  return OkStatus();
}

bool Fits(const PlacementProblem& p) {
  Best best;
  std::int64_t nodes = p.node_cap / 50 + 1;
  return SolveAll(p, best, &nodes) && best.value < kInfinite;
}

// The least that one device's budget must grow by, the others as they are: to 1 MiB, by bisection.
Error Infeasible(PlacementProblem p) {
  constexpr std::int64_t kGrain = 1 << 20;
  std::int64_t all = 0;
  for (const ChainUnit& u : p.units) all += (u.weights + u.state + u.transient + u.staging).value();
  for (const ChainDevice& d : p.devices) all += d.workspace.value();
  std::int64_t best = all + kGrain;
  std::size_t device = p.devices.size();
  if (p.units.size() > 1000) return {ErrorCode::kInfeasible, "no placement fits the budgets"};
  // Each answer takes a few dozen searches: for long chains on many devices only the largest one is tried.
  const auto largest = std::max_element(p.devices.begin(), p.devices.end(),
                                        [](const auto& a, const auto& b) { return a.budget < b.budget; }) -
                       p.devices.begin();
  for (std::size_t d = 0; d < p.devices.size(); ++d) {
    if (p.units.size() * p.devices.size() > 640 && d != static_cast<std::size_t>(largest)) continue;
    const Bytes before = p.devices[d].budget;
    const auto fits = [&](std::int64_t more) {
      p.devices[d].budget = before + Bytes(more);
      return Fits(p);
    };
    std::int64_t low = 0, high = best - kGrain;  // another device must be better by more than the grain
    if (high > 0 && fits(high)) {
      while (high - low > kGrain) {
        const std::int64_t middle = low + (high - low) / 2;
        (fits(middle) ? high : low) = middle;
      }
      best = high;
      device = d;
    }
    p.devices[d].budget = before;
  }
  if (device == p.devices.size()) {
    return {ErrorCode::kInfeasible, "no placement fits the budgets, nor would a larger budget of one device help"};
  }
  return {ErrorCode::kInfeasible,
          fmt::format("no placement fits the budgets; {} more on {} (of now {}) would do", FormatBytes(Bytes(best)),
                      p.devices[device].name, FormatBytes(p.devices[device].budget))};
}

}  // namespace

Result<ChainPlacement> SolvePlacement(const PlacementProblem& problem) {
  STOWAGE_RETURN_IF_ERROR(Check(problem));
  Best best;
  std::int64_t nodes = problem.node_cap;
  STOWAGE_RETURN_IF_ERROR(SolveAll(problem, best, &nodes));
  if (best.value >= kInfinite) {
    if (best.lower_bound < kInfinite) {
      return Error{ErrorCode::kInfeasible,
                   fmt::format("no placement was found in {} steps; a larger node_cap may find one", problem.node_cap)};
    }
    return Infeasible(problem);
  }
  ChainPlacement result;
  const double unit = problem.objective == PlacementObjective::kMemory ? 1 : 1e-12;
  result.value = static_cast<double>(best.value) * unit;
  result.lower_bound = static_cast<double>(std::min(best.value, best.lower_bound)) * unit;
  result.proven = best.lower_bound >= best.value;
  result.nodes = problem.node_cap - nodes;
  result.units = std::move(best.units);
  result.order = std::move(best.order);
  return result;
}

}  // namespace stowage

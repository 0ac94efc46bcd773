// PricePlacement: the rules of placement.h read off one placement. Shares nothing with the search.
#include <fmt/format.h>

#include <algorithm>

#include "planner/base/text.h"
#include "planner/solve/placement/placement.h"
#include "planner/solve/placement/tables.h"

namespace stowage {
namespace {

class Pricer {
 public:
  Pricer(const PlacementProblem& problem, const std::vector<UnitPlacement>& units)
      : p_(problem), units_(units), cpu_(static_cast<std::int32_t>(problem.devices.size())) {
    tie_of_.assign(p_.units.size(), -1);
    for (std::size_t t = 0; t < p_.ties.size(); ++t) {
      for (const std::int32_t u : p_.ties[t].units) tie_of_[u] = static_cast<int>(t);
    }
  }

  Status CheckForm(const std::vector<std::int32_t>& order) const {
    if (units_.size() != p_.units.size()) {
      return Invalid(fmt::format("{} units are placed, the chain has {}", units_.size(), p_.units.size()));
    }
    std::vector<int> rank(cpu_, -1);
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (order[i] < 0 || order[i] >= cpu_ || rank[order[i]] >= 0) return Invalid("the order is no permutation");
      rank[order[i]] = static_cast<int>(i);
    }
    if (static_cast<std::int32_t>(order.size()) != cpu_) return Invalid("the order is no permutation");
    int current = -1;
    bool interrupted = false;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const UnitPlacement& at = units_[u];
      if (at.device < 0 || at.device > cpu_) return Invalid(fmt::format("'{}' is on no device", p_.units[u].name));
      if (at.device == cpu_ && at.weights != KeptOn::kHost) {
        return Invalid(fmt::format("'{}' is computed on the CPU, but not kept there", p_.units[u].name));
      }
      if (tie_of_[u] >= 0) {
        if (!(at == units_[p_.ties[tie_of_[u]].units[0]])) return Broken("'{}' is not with what it is tied to", u);
        continue;
      }
      if (at.device == cpu_) {
        interrupted = true;
        continue;
      }
      if (rank[at.device] < current || (rank[at.device] == current && interrupted)) {
        return Broken("'{}' breaks the order of the devices' runs", u);
      }
      current = rank[at.device];
      interrupted = false;
    }
    return OkStatus();
  }

  Result<PlacementPrice> Price() const {
    PlacementPrice price;
    STOWAGE_RETURN_IF_ERROR(Memory(price));
    std::vector<placement::Time> time(p_.devices.size() + 1, 0);
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const placement::Time t = TimeOf(u);
      if (t >= placement::kNever) return Broken("'{}' cannot be computed where it is", u);
      time[units_[u].device] += t + Hop(u);
    }
    switch (p_.objective) {
      case PlacementObjective::kLatency:
        for (const placement::Time t : time) price.value += static_cast<double>(t) * 1e-12;
        break;
      case PlacementObjective::kThroughput:
        price.value = static_cast<double>(*std::max_element(time.begin(), time.end())) * 1e-12;
        break;
      case PlacementObjective::kMemory:
        for (const Bytes b : price.device_bytes) price.value = std::max(price.value, static_cast<double>(b.value()));
        break;
    }
    return price;
  }

 private:
  static Error Invalid(std::string message) { return {ErrorCode::kInvalidInput, std::move(message)}; }
  Error Broken(std::string_view format, std::size_t u) const {
    return {ErrorCode::kInfeasible, fmt::format(fmt::runtime(format), p_.units[u].name)};
  }

  placement::Time TimeOf(std::size_t u) const {
    const ChainUnit& unit = p_.units[u];
    const UnitPlacement& at = units_[u];
    if (at.device == cpu_) return placement::Picoseconds(unit.cpu_seconds);
    placement::Time t = placement::Picoseconds(unit.seconds[at.device]);
    if (at.weights == KeptOn::kHost) t += placement::Picoseconds(unit.host_stream[at.device]);
    if (at.weights == KeptOn::kDisk) t += placement::Picoseconds(unit.disk_stream[at.device]);
    return t;
  }

  placement::Time Hop(std::size_t u) const {  // into unit u
    if (u == 0 || units_[u - 1].device == units_[u].device) return 0;
    if (p_.objective == PlacementObjective::kThroughput && (tie_of_[u] >= 0 || tie_of_[u - 1] >= 0)) return 0;
    const ChainLink& link = p_.links[units_[u - 1].device][units_[u].device];
    return placement::Picoseconds(link.latency + p_.units[u - 1].boundary / link.rate);
  }

  Status Memory(PlacementPrice& price) const {
    struct Use {
      bool any = false;
      Bytes sum, transient, staging;
    };
    std::vector<Use> uses(p_.devices.size() + 1);
    price.host_bytes = p_.host_workspace;
    std::vector<bool> tie_seen(p_.ties.size(), false);
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const ChainUnit& unit = p_.units[u];
      const UnitPlacement& at = units_[u];
      Use& use = uses[at.device];
      Bytes weights = unit.weights;
      if (tie_of_[u] >= 0) {
        if (tie_seen[tie_of_[u]]) weights = weights - p_.ties[tie_of_[u]].shared;
        tie_seen[tie_of_[u]] = true;
      }
      use.any = true;
      use.sum += unit.state;
      use.transient = std::max(use.transient, unit.transient);
      if (at.weights == KeptOn::kDevice) use.sum += weights;
      if (at.weights == KeptOn::kHost) price.host_bytes += weights;
      if (at.weights == KeptOn::kDisk) price.disk_bytes += weights;
      if (at.weights != KeptOn::kDevice) use.staging = std::max(use.staging, unit.staging);
    }
    price.host_bytes += uses[cpu_].sum;
    for (std::int32_t d = 0; d < cpu_; ++d) {
      const Use& use = uses[d];
      const ChainDevice& device = p_.devices[d];
      price.device_bytes.push_back(use.any ? device.workspace + use.sum + use.transient + use.staging : Bytes(0));
      STOWAGE_RETURN_IF_ERROR(Within(device.name, price.device_bytes.back(), device.budget));
    }
    if (price.host_bytes > p_.host_workspace) {
      STOWAGE_RETURN_IF_ERROR(Within("host memory", price.host_bytes, p_.host_budget));
    }
    return Within("the disk", price.disk_bytes, p_.disk_budget);
  }

  static Status Within(std::string_view name, Bytes used, Bytes budget) {
    if (used <= budget) return OkStatus();
    return Error{ErrorCode::kInfeasible,
                 fmt::format("{} would hold {}, its budget is {}", name, FormatBytes(used), FormatBytes(budget))};
  }

  const PlacementProblem& p_;
  const std::vector<UnitPlacement>& units_;
  const std::int32_t cpu_;
  std::vector<int> tie_of_;
};

}  // namespace

Result<PlacementPrice> PricePlacement(const PlacementProblem& problem, const std::vector<UnitPlacement>& units,
                                      const std::vector<std::int32_t>& order) {
  const Pricer pricer(problem, units);
  STOWAGE_RETURN_IF_ERROR(pricer.CheckForm(order));
  return pricer.Price();
}

}  // namespace stowage

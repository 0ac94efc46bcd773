#include "planner/solve/placement/random_chain.h"

#include <fmt/format.h>

namespace stowage {
namespace {

class Dice {
 public:
  explicit Dice(std::mt19937& random) : random_(random) {}
  std::int64_t To(std::int64_t most) { return Between(0, most); }
  std::int64_t Between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random_);
  }
  bool OneIn(int n) { return To(n - 1) == 0; }
  Seconds Time(std::int64_t most_us) { return Seconds(static_cast<double>(To(most_us)) * 1e-6); }

 private:
  std::mt19937& random_;
};

ChainUnit RandomUnit(Dice& dice, int devices) {
  ChainUnit u;
  u.weights = Bytes(dice.OneIn(8) ? 0 : dice.Between(1, 12));
  if (dice.OneIn(2)) u.state = Bytes(dice.To(3));
  if (dice.OneIn(3)) u.transient = Bytes(dice.To(4));
  if (!dice.OneIn(3)) u.staging = dice.OneIn(2) ? u.weights : Bytes(dice.To(6));
  u.boundary = Bytes(dice.To(5));
  const bool even = dice.OneIn(2);
  for (int d = 0; d < devices; ++d) {
    u.seconds.push_back(dice.OneIn(25) ? kNeverSeconds : dice.Time(9));
    u.host_stream.push_back(dice.OneIn(12) ? kNeverSeconds : dice.Time(9));
    u.disk_stream.push_back(even ? u.host_stream[d] + Seconds(4e-6) : dice.Time(15));
  }
  if (!dice.OneIn(3)) u.cpu_seconds = dice.Time(25);
  return u;
}

}  // namespace

PlacementProblem RandomChain(std::mt19937& random, const RandomChainLimits& limits) {
  Dice dice(random);
  PlacementProblem p;
  const int devices = static_cast<int>(dice.Between(1, limits.devices));
  const int units = static_cast<int>(dice.Between(1, limits.units));
  std::vector<ChainUnit> kinds;
  for (int k = 0; k < limits.kinds; ++k) kinds.push_back(RandomUnit(dice, devices));
  const bool cpu = dice.OneIn(2);
  for (int i = 0; i < units; ++i) {
    p.units.push_back(kinds[dice.To(limits.kinds - 1)]);
    p.units.back().name = fmt::format("u{}", i);
    if (!cpu) p.units.back().cpu_seconds = kNeverSeconds;
  }
  const bool alike = dice.OneIn(3);
  for (int d = 0; d < devices; ++d) {
    ChainDevice device{fmt::format("gpu{}", d), Bytes(dice.To(limits.room * 6)), Bytes(dice.To(3))};
    if (alike && d > 0) {
      device.budget = p.devices[0].budget;
      device.workspace = p.devices[0].workspace;
      for (ChainUnit& u : p.units) {
        u.seconds[d] = u.seconds[0];
        u.host_stream[d] = u.host_stream[0];
        u.disk_stream[d] = u.disk_stream[0];
      }
    }
    p.devices.push_back(device);
  }
  if (!dice.OneIn(4)) p.host_budget = Bytes(dice.OneIn(3) ? 1000 : dice.To(30));
  if (dice.OneIn(3)) p.host_workspace = Bytes(dice.To(4));
  if (dice.OneIn(2)) p.disk_budget = Bytes(dice.OneIn(2) ? 1000 : dice.To(30));
  const ChainLink one{dice.Time(5), BytesPerSecond(1e6)};
  p.links.assign(devices + 1, std::vector<ChainLink>(devices + 1, one));
  if (dice.OneIn(2)) {
    for (auto& row : p.links) {
      for (ChainLink& link : row) link = {dice.Time(6), BytesPerSecond(dice.OneIn(2) ? 1e6 : 5e5)};
    }
  }
  if (units >= 2 && dice.OneIn(3)) {
    const auto a = static_cast<std::int32_t>(dice.To(units - 2));
    const auto b = dice.OneIn(2) ? units - 1 : static_cast<std::int32_t>(dice.Between(a + 1, units - 1));
    p.ties.push_back({{a, b}, Bytes(dice.To(std::min(p.units[a].weights, p.units[b].weights).value()))});
  }
  return p;
}

PlacementProblem PlainChain(const std::vector<Bytes>& unit_weights, const std::vector<Bytes>& budgets,
                            Bytes host_budget, Bytes disk_budget) {
  PlacementProblem p;
  p.host_budget = host_budget;
  p.disk_budget = disk_budget;
  for (std::size_t d = 0; d < budgets.size(); ++d) p.devices.push_back({fmt::format("gpu{}", d), budgets[d], Bytes(0)});
  for (std::size_t i = 0; i < unit_weights.size(); ++i) {
    ChainUnit u;
    u.name = fmt::format("u{}", i);
    u.weights = unit_weights[i];
    u.staging = unit_weights[i];
    u.boundary = Bytes(8192);
    for (std::size_t d = 0; d < budgets.size(); ++d) {
      u.seconds.push_back(u.weights / BytesPerSecond(1000e9));
      u.host_stream.push_back(u.weights / BytesPerSecond(12e9));
      u.disk_stream.push_back(u.weights / BytesPerSecond(2e9));
    }
    p.units.push_back(std::move(u));
  }
  p.links.assign(budgets.size() + 1, std::vector<ChainLink>(budgets.size() + 1, {Seconds(1e-5), BytesPerSecond(12e9)}));
  return p;
}

}  // namespace stowage

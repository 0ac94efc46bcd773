#include "planner/solve/placement/placement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "planner/solve/placement/placement_referee.h"
#include "planner/solve/placement/random_chain.h"

namespace stowage {
namespace {

// One random problem against the referee: same value, a proof, and a placement that is worth what it says.
void Compare(const PlacementProblem& p, int* feasible) {
  const std::optional<double> expected = BruteForcePlacement(p);
  const Result<ChainPlacement> got = SolvePlacement(p);
  ASSERT_EQ(got.ok(), expected.has_value()) << (got.ok() ? "the referee finds none" : got.error().message);
  if (!expected) return;
  ++*feasible;
  const double tolerance = p.objective == PlacementObjective::kMemory ? 0 : 1e-11;
  EXPECT_NEAR(got->value, *expected, tolerance);
  EXPECT_TRUE(got->proven);
  EXPECT_EQ(got->lower_bound, got->value);
  const Result<PlacementPrice> price = PricePlacement(p, got->units, got->order);
  ASSERT_TRUE(price.ok()) << price.error().message;
  EXPECT_NEAR(price->value, got->value, tolerance);
}

struct RefereeCase {
  const char* name;
  PlacementObjective objective;
  bool any_order;
  RandomChainLimits limits;
  int instances;
};

class Referee : public testing::TestWithParam<RefereeCase> {};

TEST_P(Referee, FindsNothingBetter) {
  const RefereeCase& c = GetParam();
  int feasible = 0;
  for (int seed = 0; seed < c.instances; ++seed) {
    std::mt19937 random(seed);
    PlacementProblem p = RandomChain(random, c.limits);
    p.objective = c.objective;
    p.any_order = c.any_order;
    Compare(p, &feasible);
    ASSERT_FALSE(HasFailure()) << c.name << " seed " << seed;
  }
  EXPECT_GT(feasible, c.instances / 3);
  RecordProperty("instances", c.instances);
  RecordProperty("feasible", feasible);
}

INSTANTIATE_TEST_SUITE_P(
    Objectives, Referee,
    testing::Values(RefereeCase{"Latency", PlacementObjective::kLatency, false, {6, 3, 3, 5}, 3000},
                    RefereeCase{"LatencyOfUnequalUnits", PlacementObjective::kLatency, false, {6, 2, 8, 5}, 3000},
                    RefereeCase{"LatencyOfEqualUnits", PlacementObjective::kLatency, false, {7, 2, 1, 5}, 3000},
                    RefereeCase{"Throughput", PlacementObjective::kThroughput, false, {6, 3, 3, 5}, 2000},
                    RefereeCase{"Memory", PlacementObjective::kMemory, false, {6, 3, 3, 8}, 2000},
                    RefereeCase{"LatencyInAnyOrder", PlacementObjective::kLatency, true, {5, 3, 3, 5}, 1000},
                    RefereeCase{"LatencyOfAFewKinds", PlacementObjective::kLatency, false, {7, 2, 2, 4}, 1500},
                    RefereeCase{"ThroughputOfUnequalUnits", PlacementObjective::kThroughput, false, {6, 2, 8, 5}, 2000},
                    RefereeCase{"ThroughputInAnyOrder", PlacementObjective::kThroughput, true, {5, 3, 3, 5}, 500},
                    RefereeCase{"MemoryInAnyOrder", PlacementObjective::kMemory, true, {5, 3, 3, 8}, 500}),
    [](const testing::TestParamInfo<RefereeCase>& info) { return info.param.name; });

// Sizes in GiB, as device_map.md gives them; Llama-3-8B in bf16: embedding and head 0.9785, 32 layers of 0.4063.
Bytes Gib(double gib) { return Bytes(static_cast<std::int64_t>(gib * 1073741824.0)); }

std::vector<Bytes> Llama8b() {
  std::vector<Bytes> units = {Bytes(1'050'673'152)};
  units.insert(units.end(), 32, Bytes(436'224'000));
  units.insert(units.end(), {Bytes(8192), Bytes(1'050'673'152)});
  return units;
}

int Resident(const ChainPlacement& p) {
  int n = 0;
  for (const UnitPlacement& u : p.units) n += u.weights == KeptOn::kDevice ? 1 : 0;
  return n;
}

ChainPlacement Solve(const PlacementProblem& p) {
  Result<ChainPlacement> r = SolvePlacement(p);
  if (!r) {
    ADD_FAILURE() << r.error().message;
    return {};
  }
  EXPECT_TRUE(r->proven);
  return *std::move(r);
}

// accelerate's sweep in its barest form, for chains: units in order, the first device and the host keep room for the
// largest unit still to come, no device is revisited.
std::vector<UnitPlacement> Greedy(const PlacementProblem& p, const std::vector<Bytes>& budgets) {
  const auto devices = static_cast<std::int32_t>(p.devices.size());
  std::vector<UnitPlacement> units;
  std::int32_t device = 0;
  Bytes used;
  for (std::size_t u = 0; u < p.units.size();) {
    Bytes largest;
    for (std::size_t v = u + 1; v < p.units.size(); ++v) largest = std::max(largest, p.units[v].weights);
    const Bytes cap = device < devices ? budgets[device] - (device == 0 ? largest : Bytes(0)) : Bytes(INT64_MAX);
    if (used + p.units[u].weights <= cap) {
      used += p.units[u].weights;
      // What accelerate offloads runs on the device before in this chain's terms: the last one.
      units.push_back(device < devices ? UnitPlacement{device, KeptOn::kDevice}
                                       : UnitPlacement{devices - 1, KeptOn::kHost});
      ++u;
    } else {
      ++device;
      used = Bytes(0);
    }
  }
  return units;
}

int Streamed(const std::vector<UnitPlacement>& units) {
  int n = 0;
  for (const UnitPlacement& u : units) n += u.weights != KeptOn::kDevice ? 1 : 0;
  return n;
}

TEST(AcceleratesWaste, SixAndTenGibHoldLlama8bWithItsHead) {
  const PlacementProblem p = PlainChain(Llama8b(), {Gib(6), Gib(10)}, Gib(32), Bytes(0));
  EXPECT_EQ(Streamed(Greedy(p, {Gib(6), Gib(10)})), 1);  // the head
  EXPECT_EQ(Resident(Solve(p)), 35);
}

TEST(AcceleratesWaste, TwelveAndSixGibHoldLlama8bThoughTheBalancedCapSpills) {
  const PlacementProblem p = PlainChain(Llama8b(), {Gib(12), Gib(6)}, Gib(32), Bytes(0));
  EXPECT_GT(Streamed(Greedy(p, {Gib(7.99), Gib(6)})), 0);
  EXPECT_EQ(Resident(Solve(p)), 35);
}

TEST(AcceleratesWaste, TiedEmbeddingOfHalfAGibFitsTheFirstOfFourSmallDevices) {
  // Qwen3-0.6B: embedding and head share 151936 x 1024 bf16; 28 layers of 15.73 M parameters.
  std::vector<Bytes> units = {Bytes(311'164'928)};
  units.insert(units.end(), 28, Bytes(31'461'888));
  units.insert(units.end(), {Bytes(2048), Bytes(311'164'928)});
  PlacementProblem p = PlainChain(units, std::vector<Bytes>(4, Gib(0.31)), Bytes(0), Bytes(0));
  p.ties = {{{0, 30}, Bytes(311'164'928)}};
  const ChainPlacement got = Solve(p);
  EXPECT_EQ(Resident(got), 31);
  EXPECT_EQ(got.units[0], got.units[30]);
  // Of one GiB each, everything is on one device: no hop is left to save.
  p = PlainChain(units, std::vector<Bytes>(4, Gib(1.2)), Bytes(0), Bytes(0));
  p.ties = {{{0, 30}, Bytes(311'164'928)}};
  for (const UnitPlacement& u : Solve(p).units) EXPECT_EQ(u, (UnitPlacement{0, KeptOn::kDevice}));
}

TEST(AcceleratesWaste, MixtralOnEightDevicesUsesNoMoreThanItNeeds) {
  std::vector<Bytes> units = {Bytes(262'144'000)};
  units.insert(units.end(), 32, Bytes(2'902'523'904));
  units.insert(units.end(), {Bytes(8192), Bytes(262'144'000)});
  PlacementProblem p = PlainChain(units, std::vector<Bytes>(8, Gib(78.92)), Gib(100), Bytes(0));
  const ChainPlacement fast = Solve(p);
  EXPECT_EQ(fast.units.back().device, 1);  // two devices, one hop
  p.objective = PlacementObjective::kThroughput;
  const ChainPlacement wide = Solve(p);
  EXPECT_EQ(wide.units.back().device, 7);  // all eight, none empty
}

// Whichever budget grows, whatever is asked for, whether or not the devices' order is free.
TEST(Placement, MoreBudgetIsNeverSlower) {
  int compared = 0, better = 0;
  for (int seed = 0; seed < 2400; ++seed) {
    std::mt19937 random(seed);
    PlacementProblem p =
        RandomChain(random, seed % 8 == 0 ? RandomChainLimits{8, 3, 3, 6} : RandomChainLimits{14, 4, 3, 8});
    p.objective = static_cast<PlacementObjective>(seed / 3 % 3);
    p.any_order = seed % 8 == 0;
    const Result<ChainPlacement> before = SolvePlacement(p);
    if (!before) continue;
    switch (seed % 3) {
      case 0:
        p.devices[seed % p.devices.size()].budget += Bytes(1 + seed % 7);
        break;
      case 1:
        p.host_budget += Bytes(1 + seed % 9);
        break;
      default:
        p.disk_budget += Bytes(1 + seed % 9);
    }
    const double after = Solve(p).value;
    EXPECT_LE(after, before->value + 1e-12) << seed;
    ++compared;
    better += after < before->value - 1e-12 ? 1 : 0;
  }
  EXPECT_GT(compared, 1200);
  EXPECT_GT(better, 100);
}

TEST(Placement, IsNeverWorseThanARandomOneThatFits) {
  int compared = 0;
  for (int seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const PlacementProblem p = RandomChain(random, {20, 5, 4, 10});
    const Result<ChainPlacement> best = SolvePlacement(p);
    const auto devices = static_cast<int>(p.devices.size());
    std::vector<std::int32_t> order(devices);
    for (int d = 0; d < devices; ++d) order[d] = d;
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<UnitPlacement> units;
      std::int32_t device = 0;
      for (std::size_t u = 0; u < p.units.size(); ++u) {
        while (device + 1 < devices && random() % 5 == 0) ++device;
        units.push_back({device, static_cast<KeptOn>(random() % 8 < 6 ? 0 : random() % 3)});
      }
      for (const ChainTie& tie : p.ties) {
        for (const std::int32_t u : tie.units) units[u] = units[tie.units[0]];
      }
      const Result<PlacementPrice> price = PricePlacement(p, units, order);
      if (!price) continue;
      ++compared;
      ASSERT_TRUE(best.ok()) << seed;
      EXPECT_LE(best->value, price->value + 1e-12) << seed;
    }
  }
  EXPECT_GT(compared, 1000);
}

TEST(Placement, EqualBlocksAreProvenWhenHostAndDiskMustBothHelp) {
  std::vector<Bytes> units = {Bytes(2'101'346'304)};  // Llama-3-70B
  units.insert(units.end(), 80, Bytes(1'711'308'800));
  units.insert(units.end(), {Bytes(16384), Bytes(2'101'346'304)});
  PlacementProblem p = PlainChain(units, {Bytes(15'000'000'000)}, Bytes(30'000'000'000), Bytes(500'000'000'000));
  const ChainPlacement got = Solve(p);
  EXPECT_EQ(got.lower_bound, got.value);
  const Result<PlacementPrice> price = PricePlacement(p, got.units, got.order);
  ASSERT_TRUE(price.ok());
  // 30 GB of host memory hold 17 blocks (or 16 and the head).
  EXPECT_GT(price->host_bytes, Bytes(28'000'000'000));
}

// The steps stand for the time: 7,000 of them are below 6 ms (placement_bench.cc).
TEST(Placement, TwoHundredUnitsOnSixteenUnequalDevicesTakeFewSteps) {
  for (const int percent : {60, 90, 120}) {
    std::vector<Bytes> units(200, Bytes(855'654'400));
    units.front() = units.back() = Bytes(2'101'346'304);
    units[198] = Bytes(16384);
    Bytes total;
    for (const Bytes b : units) total += b;
    std::vector<Bytes> budgets;
    for (int d = 0; d < 16; ++d) budgets.push_back(Bytes(total.value() / 1'600'000 * percent * (600 + 53 * d)));
    PlacementProblem p = PlainChain(units, budgets, total, Bytes(0));
    for (ChainUnit& u : p.units) {
      for (int d = 0; d < 16; ++d) u.seconds[d] = u.seconds[d] * (1 + 0.07 * ((d * 7) % 16));
    }
    const ChainPlacement got = Solve(p);
    EXPECT_LT(got.nodes, 10'000) << percent;
  }
}

TEST(Placement, HostMemoryThatBindsLeavesNoObjectiveUnproven) {
  std::vector<Bytes> units(100, Bytes(855'654'400));
  units.front() = units.back() = Bytes(2'101'346'304);
  Bytes total;
  for (const Bytes b : units) total += b;
  for (const bool cpu : {false, true}) {
    PlacementProblem p = PlainChain(units, std::vector<Bytes>(8, total * 6 / 80), total / 8, total * 2);
    for (ChainUnit& u : p.units) {
      u.state = Bytes(10'000'000);
      if (cpu) u.cpu_seconds = u.weights / BytesPerSecond(30e9);
    }
    for (const PlacementObjective objective :
         {PlacementObjective::kLatency, PlacementObjective::kThroughput, PlacementObjective::kMemory}) {
      p.objective = objective;
      const ChainPlacement got = Solve(p);
      EXPECT_EQ(got.lower_bound, got.value);
      EXPECT_LT(got.nodes, 100'000);
      EXPECT_TRUE(PricePlacement(p, got.units, got.order).ok());
    }
  }
}

TEST(Placement, ManyUnequalUnitsGetABoundAndAGapWhenTheStepsRunOut) {
  std::vector<Bytes> units;
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i) units.push_back(Bytes(100'000'000 + static_cast<std::int64_t>(random() % 100'000'000)));
  PlacementProblem p = PlainChain(units, {Bytes(2'000'000'000), Bytes(3'000'000'000)}, Bytes(20'000'000'000), Bytes(0));
  p.node_cap = 2000;
  const Result<ChainPlacement> got = SolvePlacement(p);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_LE(got->lower_bound, got->value);
  EXPECT_LT(got->Gap(), 0.05);
  EXPECT_EQ(got->proven, got->lower_bound == got->value);
}

TEST(Placement, AnInfeasibleOneNamesTheBudgetThatWouldDo) {
  PlacementProblem p = PlainChain(std::vector<Bytes>(4, Gib(1)), {Gib(2), Gib(1)}, Bytes(0), Bytes(0));
  const Result<ChainPlacement> got = SolvePlacement(p);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code, ErrorCode::kInfeasible);
  EXPECT_EQ(got.error().message, "no placement fits the budgets; 1.07 GB more on gpu0 (of now 2.15 GB) would do");
}

TEST(Placement, RefusesMalformedProblems) {
  PlacementProblem p = PlainChain({Gib(1)}, {Gib(2)}, Bytes(0), Bytes(0));
  p.units[0].seconds.clear();
  EXPECT_EQ(SolvePlacement(p).error().message, "unit 'u0' does not give its times for each of the 1 devices");
  p = PlainChain({Gib(1)}, {Gib(2)}, Bytes(0), Bytes(0));
  p.units[0].weights = Bytes(-1);
  EXPECT_EQ(SolvePlacement(p).error().message, "unit 'u0' has a size of -1 B; sizes are 0 to 1 PB");
  p = PlainChain({}, {Gib(2)}, Bytes(0), Bytes(0));
  EXPECT_EQ(SolvePlacement(p).error().message, "a chain without units");
  p = PlainChain({Gib(1)}, std::vector<Bytes>(17, Gib(2)), Bytes(0), Bytes(0));
  EXPECT_EQ(SolvePlacement(p).error().message, "17 devices; 1 to 16 can be planned");
}

TEST(PricePlacement, RefusesARunThatComesBack) {
  const PlacementProblem p = PlainChain(std::vector<Bytes>(3, Gib(1)), {Gib(3), Gib(3)}, Bytes(0), Bytes(0));
  const std::vector<UnitPlacement> units = {{0, KeptOn::kDevice}, {1, KeptOn::kDevice}, {0, KeptOn::kDevice}};
  EXPECT_EQ(PricePlacement(p, units, {0, 1}).error().message, "'u2' breaks the order of the devices' runs");
}

}  // namespace
}  // namespace stowage

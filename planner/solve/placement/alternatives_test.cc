#include "planner/solve/placement/alternatives.h"

#include <gtest/gtest.h>

#include <random>

#include "planner/solve/placement/placement_referee.h"
#include "planner/solve/placement/random_chain.h"

namespace stowage {
namespace {

std::vector<std::string> Sentences(const PlacementProblem& p, std::int32_t unit) {
  const Result<ChainPlacement> best = SolvePlacement(p);
  if (!best) return {best.error().message};
  std::vector<std::string> out;
  for (const Alternative& a : AlternativesOf(p, *best, unit)) out.push_back(Sentence(p, a));
  return out;
}

constexpr std::int64_t kGb = 1'000'000'000;

// Blocks of 1 GB on devices of 2 and 3 GB: u0 and u1 on the first, the rest on the second.
TEST(Alternatives, SayWhatEveryOtherPlaceWouldCost) {
  PlacementProblem p =
      PlainChain(std::vector<Bytes>(5, Bytes(kGb)), {Bytes(2 * kGb), Bytes(3 * kGb)}, Bytes(kGb), Bytes(0));
  EXPECT_EQ(Sentences(p, 4),
            (std::vector<std::string>{
                "resident on gpu0: no placement fits the budgets; 3.00 GB more on gpu0 (of now 2.00 GB) would do",
                "streamed from host memory by gpu0: 'u4' breaks the order of the devices' runs",
                "streamed from the disk by gpu0: 'u4' breaks the order of the devices' runs",
                "streamed from host memory by gpu1: 83.33 ms slower",
                "streamed from the disk by gpu1: the disk would hold 1.00 GB, its budget is 0 B",
                "computed on the CPU: 'u4' cannot be computed where it is"}));
  p.devices[1].budget = Bytes(4 * kGb);
  EXPECT_EQ(Sentences(p, 1)[2], "resident on gpu1: as good");
}

TEST(Alternatives, MoveWhatIsTied) {
  PlacementProblem p = PlainChain(std::vector<Bytes>(3, Bytes(kGb)), {Bytes(3 * kGb)}, Bytes(3 * kGb), Bytes(0));
  p.ties = {{{0, 2}, Bytes(kGb)}};
  EXPECT_EQ(Sentences(p, 0),
            (std::vector<std::string>{"streamed from host memory by gpu0: 166.7 ms slower",
                                      "streamed from the disk by gpu0: the disk would hold 1.00 GB, its budget is 0 B",
                                      "computed on the CPU: 'u0' cannot be computed where it is"}));
}

// Every cost is that of a placement that exists, so none is below the optimum; what is said to be impossible on a
// device is so for the referee too.
TEST(Alternatives, AreNeverBetterThanTheOptimum) {
  int costs = 0, impossible = 0;
  for (int seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const PlacementProblem p = RandomChain(random, {5, 3, 3, 5});
    const Result<ChainPlacement> best = SolvePlacement(p);
    if (!best) continue;
    const auto unit = static_cast<std::int32_t>(seed % p.units.size());
    for (const Alternative& a : AlternativesOf(p, *best, unit)) {
      if (a.cost) {
        ++costs;
        EXPECT_GE(*a.cost, -1e-12) << seed;
        continue;
      }
      EXPECT_FALSE(a.why_not.empty());
      if (a.to.weights != KeptOn::kDevice || !p.ties.empty()) continue;
      PlacementProblem forced = p;
      ChainUnit& u = forced.units[unit];
      for (std::size_t d = 0; d < p.devices.size(); ++d) {
        if (static_cast<std::int32_t>(d) != a.to.device) u.seconds[d] = kNeverSeconds;
        u.host_stream[d] = u.disk_stream[d] = kNeverSeconds;
      }
      u.cpu_seconds = kNeverSeconds;
      EXPECT_FALSE(BruteForcePlacement(forced).has_value()) << seed;
      ++impossible;
    }
  }
  EXPECT_GT(costs, 300);
  EXPECT_GT(impossible, 30);
}

}  // namespace
}  // namespace stowage

// The ring is never worse than what another native strategy does on the same machine with the same budgets: it may be
// that strategy.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "planner/strategy/native/device_map_ring.h"
#include "planner/strategy/native/layers.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"
#include "sim/rank/rank.h"

namespace stowage {
namespace {

// Each rate up to 16 times more or less: hosts quicker than the device, links slower than either. Tiny models are all
// launches, which the host's cores do not pay, so half of the hosts are of no help.
void Vary(Machine& machine, std::mt19937_64& random) {
  const double idle = random() % 2 == 0 ? 1 : 1e-4;
  const auto factor = [&] { return std::exp2(static_cast<double>(random() % 1000) / 125 - 4); };
  for (Resource& r : machine.resources) {
    if (r.compute) {
      r.compute->memory = r.compute->memory * factor();
      r.compute->fp32 = r.compute->fp32 * factor();
      r.compute->fp16 = r.compute->fp16 * factor();
      r.compute->bf16 = r.compute->bf16 * factor();
      r.compute->launch = r.compute->launch * factor();
      if (r.name == "host.cores") {
        r.compute->memory = r.compute->memory * idle;
        r.compute->fp32 = r.compute->fp32 * idle;
      }
    }
    if (r.transfer) {
      r.transfer->pinned = r.transfer->pinned * factor();
      r.transfer->latency = r.transfer->latency * factor();
    }
  }
}

// Every number of layers, not only those that the strategy takes to be worth a simulation.
Strategy AnyLayers() {
  Strategy out = LayersStrategy();
  out.candidates = [](const PlanningTask& task) {
    std::vector<std::string> all;
    for (std::int64_t n = 0; n <= task.model->shape.layers + 1; ++n) all.push_back(std::to_string(n));
    return all;
  };
  return out;
}

TEST(RingStrategy, IsNeverSlowerThanAnotherNativeStrategyOnTheSameMachine) {
  int streamed = 0, computed = 0;
  EXPECT_TRUE(rc::check([&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    TestTask test = RandomTask(seed);
    std::mt19937_64 random(seed + 11);
    Vary(test.machine, random);
    const Result<Bytes> most = ResidentStrategy().smallest_gpu_budget(test.task());
    RC_ASSERT(most.ok());
    const Bytes reserved = test.machine.Reserved("gpu0");
    const auto room = static_cast<std::uint64_t>((*most - reserved).value() * 5 / 4);
    test.Budget("gpu0") = reserved + Bytes(static_cast<std::int64_t>(random() % room));
    const std::vector<Ranked> ranked =
        Rank({ResidentStrategy(), RingStrategy(), AnyLayers(), DeviceMapRingStrategy()}, test.task());
    const auto ring = std::find_if(ranked.begin(), ranked.end(), [](const Ranked& r) { return r.name == "ring"; });
    for (const Ranked& r : ranked) {
      if (!r.fits) continue;
      RC_LOG() << r.name << ":" << r.parameters << " " << r.Total(test.request).value() << " s\n";
      RC_ASSERT(ring->fits);
      RC_ASSERT(ring->Total(test.request).value() <= r.Total(test.request).value() * (1 + 1e-9));
    }
    const bool on_host = ring->parameters.starts_with("layers") || ring->parameters.find("cpu") != std::string::npos;
    streamed += !on_host && !ring->parameters.empty() ? 1 : 0;
    computed += on_host ? 1 : 0;
  }));
  EXPECT_GT(streamed, 5);
  EXPECT_GT(computed, 5);
}

}  // namespace
}  // namespace stowage

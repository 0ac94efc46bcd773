#include "sim/rank/rank.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>
#include <thread>

#include "planner/machine/build_machine.h"
#include "planner/schedule/builder.h"
#include "planner/strategy/native/resident.h"
#include "planner/strategy/native/ring_strategy.h"
#include "planner/strategy/testing/random_task.h"
#include "planner/zoo/zoo.h"
#include "sim/engine/engine.h"

namespace stowage {
namespace {

// A prefill and decode passes of given durations.
Schedule Toy(const PlanningTask& task, double first, double each) {
  ScheduleBuilder b("toy");
  const Lane gpu = {b.AddQueue("gpu0/compute"), {b.AddResource("gpu0.sm")}};
  b.AddIssuer("main", IssuerKind::kNative);
  const std::int32_t kernel = b.AddKernel({.name = "all"});
  b.BeginPhase("prefill", {{"all"}});
  b.BeginPrologue(1);
  b.step(b.Compute(gpu, kernel, {}, {}, {.op = 0})).fixed = Seconds(first);
  b.BeginPhase("decode", {{"all"}});
  b.BeginBody(task.LoweredPasses(), 1);
  b.step(b.Compute(gpu, kernel, {}, {}, {.op = 0})).fixed = Seconds(each);
  return std::move(b).Take();
}

Strategy Fake(const std::string& name, double first, double each) {
  return {.name = name,
          .runtime = "native",
          .summary = "",
          .lower = [=](const PlanningTask& task, std::string_view parameters) -> Result<Lowered> {
            if (parameters == "broken") return Error{ErrorCode::kInfeasible, name + " is broken"};
            const double factor = parameters == "half" ? 0.5 : 1;
            return Lowered{{}, Toy(task, first, each * factor)};
          },
          .candidates = [](const PlanningTask&) { return std::vector<std::string>{""}; },
          .smallest_gpu_budget = [](const PlanningTask&) -> Result<Bytes> { return Bytes(77); }};
}

// Both ends first, then the middle, on two threads.
void FromBothEnds(std::size_t count, const std::function<void(std::size_t)>& job) {
  std::thread other([&] {
    for (std::size_t i = count; i > count / 2; --i) job(i - 1);
  });
  for (std::size_t i = 0; i < count / 2; ++i) job(i);
  other.join();
}

TestTask Tiny() {
  TestTask out{TinyLlamaModel({}), TinyMachine(), {}};
  out.request = {.prompt_tokens = 4, .new_tokens = 11};
  return out;
}

// Whose cores are of no help.
void SlowHost(Machine& machine) {
  ComputeRate& cores = *machine.resources[machine.FindResource("host.cores")].compute;
  cores.memory = BytesPerSecond(1e6);
  cores.fp32 = FlopsPerSecond(1e6);
}

std::vector<std::string> Names(const std::vector<Ranked>& ranked) {
  std::vector<std::string> out;
  for (const Ranked& r : ranked) out.push_back(r.name + (r.fits ? "" : " does not fit"));
  return out;
}

TEST(Rank, PutsFittingStrategiesFirstAndTheFastestRequestFirst) {
  Strategy broken = Fake("broken", 1, 1);
  broken.candidates = [](const PlanningTask&) { return std::vector<std::string>{"broken"}; };
  // 10 passes after the first token: 12 s, 11 s, 21 s.
  const auto ranked = Rank({broken, Fake("slow start", 2, 1), Fake("best", 1, 1), Fake("slow", 1, 2)}, Tiny().task());
  EXPECT_EQ(Names(ranked), (std::vector<std::string>{"best", "slow start", "slow", "broken does not fit"}));
  EXPECT_NEAR(ranked[0].Total(Tiny().request).value(), 11, 1e-3);
  EXPECT_EQ(ranked[3].why_not, "broken is broken");
  EXPECT_EQ(ranked[3].smallest_gpu_budget, Bytes(77));
}

TEST(Rank, SaysTheSameWhoeverRunsItsJobs) {
  const std::vector<Strategy> strategies = {ResidentStrategy(), RingStrategy(), Fake("best", 0, 0), ResidentStrategy()};
  const TestTask test = Tiny();
  const std::vector<Ranked> alone = Rank(strategies, test.task());
  const std::vector<Ranked> together = Rank(strategies, test.task(), FromBothEnds);
  ASSERT_EQ(Names(together), Names(alone));
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(together[i].parameters, alone[i].parameters);
    EXPECT_EQ(together[i].Total(test.request), alone[i].Total(test.request));
    EXPECT_EQ(together[i].smallest_gpu_budget, alone[i].smallest_gpu_budget);
  }
}

TEST(Rank, GivesIntervalsToThoseThatAreAskedFor) {
  TestTask test = Tiny();
  test.machine.dispatch.spread = {.low = 0.5, .high = 2};
  const std::vector<Strategy> strategies = {ResidentStrategy(), RingStrategy(), Fake("slow", 9, 9)};
  const auto rank = [&](Intervals intervals) { return Rank(strategies, test.task(), OneAfterTheOther, intervals); };
  const std::vector<Ranked> all = rank(Intervals::kOfAll), best = rank(Intervals::kOfTheBest);
  ASSERT_TRUE(all[0].low && all[0].high && all[1].low);
  EXPECT_LT(all[0].low->first_token, all[0].high->first_token);
  ASSERT_TRUE(best[0].low && best[0].high);
  EXPECT_EQ(best[0].low->per_token, all[0].low->per_token);
  EXPECT_EQ(best[0].high->first_token, all[0].high->first_token);
  EXPECT_FALSE(best[1].low || best[1].high || rank(Intervals::kOfNone)[0].low);
}

TEST(Rank, TakesTheBestOfAStrategysCandidates) {
  Strategy s = Fake("choosy", 1, 1);
  s.candidates = [](const PlanningTask&) { return std::vector<std::string>{"broken", "", "half"}; };
  const auto ranked = Rank({s}, Tiny().task());
  ASSERT_TRUE(ranked[0].fits);
  EXPECT_EQ(ranked[0].parameters, "half");
  EXPECT_NEAR(ranked[0].per_token->value(), 0.5, 1e-3);
}

TEST(Rank, StepsOfNoPassDoNotCountForTheWrongOne) {
  Strategy hooked = Fake("hooked", 1, 1);
  hooked.lower = [](const PlanningTask& task, std::string_view) -> Result<Lowered> {
    ScheduleBuilder b("hooked");
    const Lane gpu = {b.AddQueue("gpu0/compute"), {b.AddResource("gpu0.sm")}};
    b.AddIssuer("python", IssuerKind::kNative);
    const std::int32_t kernel = b.AddKernel({.name = "all"});
    b.BeginPhase("decode", {{"all"}});
    b.BeginEpilogue(static_cast<std::int32_t>(task.LoweredPasses()));
    for (std::int32_t pass = 0; pass < task.LoweredPasses(); ++pass) {
      b.step(b.Compute(gpu, kernel, {}, {}, {.op = 0, .pass = pass})).fixed = Seconds(1);
      b.step(b.Compute(gpu, kernel, {}, {})).fixed = Seconds(0.5);  // a hook
    }
    return Lowered{{}, std::move(b).Take()};
  };
  const auto ranked = Rank({hooked}, Tiny().task());
  EXPECT_NEAR(ranked[0].per_token.value_or(Seconds(0)).value(), 1.5, 1e-3);
}

TEST(Rank, GivesNoTimePerTokenWhenThereIsOneTokenOrNone) {
  for (const std::int64_t tokens : {0, 1}) {
    TestTask test = Tiny();
    test.request.new_tokens = tokens;
    for (const Ranked& r : Rank({ResidentStrategy(), RingStrategy()}, test.task())) {
      EXPECT_TRUE(r.fits) << r.why_not;
      EXPECT_FALSE(r.per_token.has_value());
      EXPECT_GT(r.first_token, Seconds(0));
    }
  }
}

TEST(Rank, RingIsResidentWhenBothFitAndTheHostIsSlow) {
  TestTask test = Tiny();
  SlowHost(test.machine);
  const auto ranked = Rank({ResidentStrategy(), RingStrategy()}, test.task());
  ASSERT_TRUE(ranked[0].fits && ranked[1].fits);
  EXPECT_EQ(ranked[0].Total(test.request), ranked[1].Total(test.request));
  for (std::size_t p = 0; p < ranked[0].timeline.pools.size(); ++p) {
    EXPECT_EQ(ranked[0].timeline.pools[p].peak.bytes, ranked[1].timeline.pools[p].peak.bytes);
  }
}

TEST(Rank, MoreMemoryNeverMakesARingSlower) {
  const Result<Model> model = ZooModel("llama-3.2-3b");
  Result<Machine> machine = BuildMachine({.gpus = {"generic:8GB"}, .cpu = "30GB"}, {});
  ASSERT_TRUE(model.ok() && machine.ok());
  PlanningTask task{.model = &*model, .machine = &*machine};
  double before = 1e9;
  for (std::int64_t budget = 700'000'000; budget < 8'000'000'000; budget += 173'000'017) {
    machine->pools[machine->FindPool("gpu0")].budget = Bytes(budget);
    const auto ranked = Rank({RingStrategy()}, task);
    ASSERT_TRUE(ranked[0].fits) << ranked[0].why_not;
    const double now = ranked[0].Total(task.request).value();
    EXPECT_LE(now, before * 1.005) << budget << " with " << ranked[0].parameters;
    before = now;
  }
}

// What the simulator sees is what the plan says: arenas and reservations, to the byte.
TEST(Simulate, PeaksOfNativeLoweringsAreTheirPlansArenasAndReservations) {
  EXPECT_TRUE(rc::check([] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    TestTask test = RandomTask(seed);
    std::mt19937_64 random(seed + 3);
    const Result<Bytes> least = RingStrategy().smallest_gpu_budget(test.task());
    RC_ASSERT(least.ok());
    test.Budget("gpu0") = *least + Bytes(static_cast<std::int64_t>(random() % 1'000'000));
    PlanningTask task = test.task();
    if (random() % 2 == 0) task.last_decode_passes = 3;
    for (const Strategy& strategy : {ResidentStrategy(), RingStrategy()}) {
      const Result<Lowered> lowered = strategy.lower(task, "");
      if (!lowered) {
        RC_ASSERT(strategy.name == "resident" && lowered.error().code == ErrorCode::kInfeasible);
        continue;
      }
      const Result<Timeline> timeline = Simulate(lowered->schedule, test.machine);
      RC_ASSERT(timeline.ok());
      RC_ASSERT(!timeline->out_of_memory);
      for (const PoolTimeline& pool : timeline->pools) {
        if (pool.pool == "disk") continue;
        RC_LOG() << pool.pool << " " << pool.peak.bytes.value() << "\n";
        RC_ASSERT(pool.peak.bytes == lowered->plan.ArenaBytes(pool.pool) + test.machine.Reserved(pool.pool));
        RC_ASSERT(pool.peak.bytes <= test.Budget(pool.pool.c_str()));
      }
    }
  }));
}

}  // namespace
}  // namespace stowage

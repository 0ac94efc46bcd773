#include "tools/simulate_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "planner/machine/build_machine.h"
#include "planner/strategy/registry.h"
#include "planner/strategy/testing/random_task.h"
#include "planner/zoo/zoo.h"
#include "sim/engine/engine.h"
#include "sim/rank/rank.h"
#include "tools/simulate_sweep.h"

namespace stowage {
namespace {

// Half a megabyte of weights on a card with this much.
LoadedTask Small(std::int64_t gpu) {
  TestTask test{
      TinyLlamaModel({.layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 16, .intermediate = 256, .vocab = 512}),
      TinyMachine(),
      {.prompt_tokens = 8, .new_tokens = 8}};
  test.machine.reservations.clear();
  test.Budget("gpu0") = Bytes(gpu);
  test.Budget("host") = Bytes(4'000'000);
  // A host that is of no help: what does not fit is streamed.
  test.machine.resources[test.machine.FindResource("host.cores")].compute->memory = BytesPerSecond(1e8);
  return {test.model, test.machine, test.request};
}

Result<SimulationReport> Simulated(const LoadedTask& task, const char* name) {
  const std::vector<Strategy> all = AllStrategies();
  STOWAGE_TRY(Lowered lowered, LowerBest(*FindStrategy(all, name)->strategy, task.task(), ""));
  return SimulateReport(task, std::move(lowered));
}

TEST(SimulateReport, LowAndHighAreOnEitherSideAndAbsentWithoutIntervals) {
  LoadedTask task = Small(400'000);
  Resource& link = task.machine.resources[task.machine.FindResource("gpu0.h2d")];
  link.rate_spread = {0.5, 2};
  const Result<SimulationReport> report = Simulated(task, "ring");
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_TRUE(report->low && report->high);
  EXPECT_LT(report->low->length, report->timeline.length);
  EXPECT_LT(report->timeline.length, report->high->length);
  for (Resource& r : task.machine.resources) r.flops_spread = r.rate_spread = Spread();
  task.machine.dispatch.spread = Spread();
  EXPECT_FALSE(Simulated(task, "ring")->low.has_value());
}

TorchMemory MemoryWith(const char* settings) {
  const Model model = *ZooModel("llama-3.2-1b");
  const Machine machine =
      *BuildMachine({.gpus = {"24GB"}, .cpu = "30GB", .disk = "1TB", .torch_allocator = settings}, {});
  const PlanningTask task{.model = &model, .machine = &machine, .request = {.new_tokens = 64}};
  const std::vector<Strategy> all = AllStrategies();
  const Result<Lowered> lowered = LowerBest(*FindStrategy(all, "torch-resident")->strategy, task, "");
  EXPECT_TRUE(lowered.ok()) << lowered.error().message;
  const Result<Timeline> timeline = Simulate(lowered->schedule, machine);
  EXPECT_TRUE(timeline.ok()) << timeline.error().message;
  return *timeline->torch;
}

// The rules are those of sim/memory/caching_allocator.h.
TEST(SimulateReport, SettingsOfTorchsAllocatorChangeWhatAModelReserves) {
  constexpr Bytes kPage(2 << 20);
  const TorchMemory usual = MemoryWith("");
  const TorchMemory expandable = MemoryWith("expandable_segments:True");
  EXPECT_EQ(expandable.reserved_peak.value() % kPage.value(), 0);
  EXPECT_LT(expandable.reserved_peak, usual.reserved_peak);  // no segment has a rest of its own
  EXPECT_LT(expandable.reserved_peak - expandable.allocated_peak, Bytes(64 << 20));
  // 525,336,576 B of embedding become the next of two steps between powers of two, 512 MiB.
  const TorchMemory rounded = MemoryWith("roundup_power2_divisions:2");
  EXPECT_GE(rounded.allocated_peak - usual.allocated_peak, Bytes(536'870'912 - 525'336'576));
  EXPECT_GE(rounded.reserved_peak, rounded.allocated_peak);
  EXPECT_EQ(MemoryWith("expandable_segments:False").reserved_peak, usual.reserved_peak);
}

TEST(SimulateReport, SaysWhatWouldHelpMemoryFirst) {
  const std::vector<std::string> help = Simulated(Small(400'000), "ring")->would_help;
  ASSERT_GE(help.size(), 2u);
  EXPECT_EQ(help[0], "+243.6 kB of gpu0 (643.6 kB in all) and all of it is resident.");
  EXPECT_NE(help[1].find(" twice as fast: "), std::string::npos) << help[1];
  const std::vector<std::string> resident = Simulated(Small(2'000'000), "resident")->would_help;
  EXPECT_TRUE(std::none_of(resident.begin(), resident.end(),
                           [](const std::string& s) { return s.find("resident") != std::string::npos; }));
}

TEST(CompareStrategies, AStrategyThatDoesNotFitIsARowWithTheReason) {
  const Result<CompareReport> report = CompareStrategies(Small(400'000), {"ring:65536", "resident"});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->strategies[0].name, "ring:65536");
  EXPECT_TRUE(report->strategies[0].Runs());
  EXPECT_EQ(report->strategies[1].why_not, "resident needs 643.6 kB of gpu0, whose budget is 400.0 kB");
  EXPECT_FALSE(CompareStrategies(Small(400'000), {"rung"}).ok());
}

std::string Complaint(std::string_view text) {
  const Result<Sweep> sweep = ParseSweep(text);
  return sweep ? "" : sweep.error().message;
}

TEST(ParseSweep, IsEveryBudgetFromTheFirstToTheLast) {
  const Result<Sweep> sweep = ParseSweep("gpu=4GB:6GB:1GB");
  ASSERT_TRUE(sweep) << sweep.error().message;
  EXPECT_EQ(sweep->pool, "gpu0");
  EXPECT_EQ(sweep->budgets, (std::vector<Bytes>{Bytes(4'000'000'000), Bytes(5'000'000'000), Bytes(6'000'000'000)}));
  EXPECT_EQ(ParseSweep("cpu=8GiB:9GiB:3GiB")->budgets, (std::vector<Bytes>{Bytes(std::int64_t{8} << 30)}));
}

TEST(ParseSweep, NamesWhatIsWrong) {
  const std::string how = "; write gpu=4GB:24GB:1GB or cpu=8GB:64GB:8GB";
  EXPECT_EQ(Complaint("4GB:6GB:1GB"), "'4GB:6GB:1GB' names no pool" + how);
  EXPECT_EQ(Complaint("disk=4GB:6GB:1GB"), "'disk=4GB:6GB:1GB' names a pool other than gpu and cpu" + how);
  EXPECT_EQ(Complaint("gpu=4GB:6GB"), "'gpu=4GB:6GB' is not FROM:TO:STEP" + how);
  EXPECT_EQ(Complaint("gpu=4GB:6GB:1GB:2GB"), "'gpu=4GB:6GB:1GB:2GB' is not FROM:TO:STEP" + how);
  EXPECT_EQ(Complaint("gpu=6GB:4GB:1GB"), "'gpu=6GB:4GB:1GB' ends below where it starts" + how);
  EXPECT_EQ(Complaint("gpu=4GB:6GB:0"), "'gpu=4GB:6GB:0' has a size of nothing" + how);
  EXPECT_EQ(Complaint("gpu=1GB:2TB:1GB"), "'gpu=1GB:2TB:1GB' is 2000 budgets, 256 are possible" + how);
  EXPECT_NE(Complaint("gpu=4GB:much:1GB"), "");
}

TEST(RunSweep, MoreMemoryIsNeverSlowerAndTheFrontHoldsTheFastest) {
  const LoadedTask task = Small(400'000);
  const std::vector<Strategy> all = AllStrategies();
  const std::vector<Strategy> ring = {*FindStrategy(all, "ring")->strategy};
  const Sweep sweep{"gpu0", {Bytes(50'000), Bytes(200'000), Bytes(400'000), Bytes(800'000)}};
  const SweepReport report = RunSweep(task, ring, sweep);
  ASSERT_EQ(report.points.size(), 4u);
  for (std::size_t i = 0; i + 1 < 4; ++i) EXPECT_GE(report.points[i].time, report.points[i + 1].time);
  EXPECT_NE(std::find(report.front.begin(), report.front.end(), 3u), report.front.end());
}

}  // namespace
}  // namespace stowage

#include "planner/strategy/closed_form.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "planner/machine/build_machine.h"
#include "planner/quant/quantize.h"
#include "planner/strategy/registry.h"
#include "planner/strategy/testing/random_task.h"
#include "planner/zoo/zoo.h"
#include "sim/rank/rank.h"

namespace stowage {
namespace {

struct Case {
  Model model;
  Machine machine;
  PlanningTask task(Request request = {}) const { return {.model = &model, .machine = &machine, .request = request}; }
};

Case On(const std::string& gpu, const std::string& model) {
  Result<Model> loaded = ZooModel(model);
  Result<Machine> machine = BuildMachine({.gpus = {gpu}, .cpu = "64GB"}, {});
  EXPECT_TRUE(loaded.ok() && machine.ok());
  return {*std::move(loaded), *std::move(machine)};
}

// Llama 3.1 8B by hand: 2 * 32 * 8 * 128 * 2 B a position, 639 positions; 512 rows of residual, norm, gate and up in
// bf16; embeddings and logits of every position for torch.
TEST(ClosedForm, SizesOfALlamaAreThoseByHand) {
  const Case c = On("15GB", "llama-3.1-8b");
  const RequestSizes sizes = SizesOf(c.model, {});
  EXPECT_EQ(sizes.weights, Bytes(16'060'522'496));
  EXPECT_EQ(sizes.tables, Bytes(1'050'673'152));
  EXPECT_EQ(sizes.touched, Bytes(16'060'522'496 - 1'050'673'152));
  EXPECT_EQ(sizes.largest_tensor, Bytes(1'050'673'152));
  EXPECT_EQ(sizes.kv, Bytes(83'755'008));
  EXPECT_EQ(sizes.native_activations, Bytes(37'748'736));
  EXPECT_EQ(sizes.torch_activations, Bytes(512 * 2 * (4096 + 128'256)));
}

TEST(ClosedForm, ATokenTouchesOnlyTheExpertsItUses) {
  const Case c = On("15GB", "mixtral-8x7b");
  const RequestSizes sizes = SizesOf(c.model, {});
  // 32 layers of 8 experts of 3 matrices of 4096 * 14336, of which 2 are used.
  const Bytes experts = Bytes(std::int64_t{32} * 8 * 3 * 4096 * 14'336 * 2);
  EXPECT_EQ(sizes.touched, sizes.weights - sizes.tables - experts * 6 / 8);
}

TEST(ClosedForm, WithoutAShapeOnlyWeightsAreKnown) {
  Case c = On("15GB", "llama-3.2-1b");
  c.model.shape = {};
  const RequestSizes sizes = SizesOf(c.model, {});
  EXPECT_EQ(sizes.weights, c.model.WeightBytes());
  EXPECT_FALSE(sizes.kv.has_value() || sizes.native_activations.has_value() || sizes.torch_activations.has_value());
}

TEST(ClosedForm, OfQuantizedWeightsRefusesWhatTheSimulationRefuses) {
  Case c = On("15GB", "llama-3.1-8b");
  ASSERT_TRUE(Quantize(c.model, *FindScheme("nf4")));
  const std::vector<Strategy> all = AllStrategies();
  for (const Ranked& ranked : Rank(all, c.task())) {
    const Strategy& strategy = *FindStrategy(all, ranked.name)->strategy;
    const std::string why_not = strategy.closed_form(c.task(), "").why_not;
    EXPECT_EQ(why_not.empty(), ranked.fits) << ranked.name;
    if (strategy.runtime == "torch") {
      EXPECT_EQ(why_not, "eager torch with nf4 weights is not simulated yet");
    }
  }
}

// How far closed forms are from the simulation: measured / form, the smallest and the largest of a set.
struct Band {
  double low = 1e9, high = 0;
  void Add(double simulated, double form) {
    if (simulated == form) form = simulated = 1;
    low = std::min(low, simulated / form);
    high = std::max(high, simulated / form);
  }
};

struct Bands {
  Band first_token, per_token, torch_peak;
  int compared = 0, fit = 0;
};

double GigaBytes(Bytes bytes) { return static_cast<double>(bytes.value()) / 1e9; }

Bytes PeakOf(const ClosedForm& form, const std::string& pool) {
  for (const auto& [name, bytes] : form.peak) {
    if (name == pool) return bytes;
  }
  return Bytes(-1);
}

// Every candidate by its closed form and by simulation.
void CompareAll(const PlanningTask& task, Bands& native, Bands& torch) {
  TaskCache cache;
  PlanningTask sample = task;
  sample.cache = &cache;
  for (const Strategy& strategy : StrategiesFor(*task.machine)) {
    sample.last_decode_passes = strategy.sampled_passes;
    std::vector<std::string> candidates = strategy.candidates(sample);
    for (const std::string& parameters : candidates) {
      const std::string what = strategy.name + ":" + parameters + " of " + task.model->name;
      const ClosedForm form = strategy.closed_form(sample, parameters);
      const Strategy only = WithParameters({&strategy, parameters});
      const std::vector<Ranked> all = Rank({only}, task, OneAfterTheOther, Intervals::kOfNone);
      const Ranked& simulated = all[0];
      const bool is_torch = strategy.runtime == "torch";
      Bands& bands = is_torch ? torch : native;
      ++bands.compared;
      if (!is_torch) {
        EXPECT_EQ(form.why_not, simulated.why_not) << what;
      } else if (simulated.fits) {
        EXPECT_TRUE(form.fits()) << what << ": " << form.why_not;  // it needs no less
      }
      if (!simulated.fits || !form.fits()) continue;
      ++bands.fit;
      for (const PoolTimeline& pool : simulated.timeline.pools) {
        if (pool.pool == "disk" || pool.pool == "page cache") continue;
        const Bytes peak = PeakOf(form, pool.pool);
        if (is_torch && pool.pool.starts_with("gpu")) {
          EXPECT_GE(pool.peak.bytes, peak) << what << " " << pool.pool;
          bands.torch_peak.Add(GigaBytes(pool.peak.bytes), GigaBytes(peak));
        } else {
          EXPECT_EQ(pool.peak.bytes, peak) << what << " " << pool.pool;
        }
      }
      bands.first_token.Add(simulated.first_token.value(), form.first_token.value());
      if (simulated.per_token) bands.per_token.Add(simulated.per_token->value(), form.per_token.value());
    }
  }
}

void ExpectWithin(const char* what, const Band& band, double low, double high) {
  EXPECT_TRUE(low <= band.low && band.high <= high) << fmt::format("{}: {:.4f} to {:.4f}", what, band.low, band.high);
}

// One to three GPUs that hold from little to all of it, and a host that may be too small for the rest.
TestTask RandomPlan(std::uint64_t seed) {
  TestTask out = RandomTask(seed);
  std::mt19937_64 random(seed + 7);
  const auto share = [&](double least, double most) {
    return least + (most - least) * static_cast<double>(random() % 1000) / 1000;
  };
  out.request.all_logits = false;
  Result<Machine> machine =
      BuildMachine({.gpus = std::vector<std::string>(1 + random() % 3, "generic:15GB"), .cpu = "30GB"}, {});
  out.machine = *std::move(machine);
  const auto weights = static_cast<double>(out.model.WeightBytes().value());
  for (Pool& pool : out.machine.pools) {
    if (pool.kind == PoolKind::kDisk) continue;
    const double room = pool.kind == PoolKind::kHost ? weights * share(0.2, 4) + 3e6
                                                     : weights * share(0.1, 2) + (seed % 3 == 0 ? 4e7 : 3e5);
    pool.budget = out.machine.Reserved(pool.name) + Bytes(static_cast<std::int64_t>(room));
  }
  return out;
}

TEST(ClosedForm, AgreesWithTheSimulationOfRandomTasks) {
  Bands native, torch;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const TestTask test = RandomPlan(seed);
    CompareAll(test.task(), native, torch);
  }
  EXPECT_GT(native.fit, 500);
  EXPECT_GT(torch.fit, 50);
  ExpectWithin("native first token", native.first_token, 0.56, 1.15);
  ExpectWithin("native per token", native.per_token, 0.92, 1.31);
  ExpectWithin("torch first token", torch.first_token, 0.88, 1.06);
  ExpectWithin("torch per token", torch.per_token, 0.99, 1.01);
  ExpectWithin("torch peak", torch.torch_peak, 1, 1.04);
}

TEST(ClosedForm, AgreesWithTheSimulationOfPublicModels) {
  Bands native, torch;
  struct Row {
    std::vector<std::string> gpus;
    const char *cpu, *model;
  };
  const std::vector<Row> rows = {{{"t4"}, "30GB", "llama-3.1-8b"},          {{"rtx4090"}, "64GB", "llama-3.1-8b"},
                                 {{"8GB"}, "12GB", "llama-3.1-8b"},         {{"24GB", "24GB"}, "200GB", "llama-3.1-8b"},
                                 {{"10GB", "6GB"}, "64GB", "llama-3.1-8b"}, {{"15GB"}, "64GB", "mixtral-8x7b"},
                                 {{"24GB"}, "128GB", "mixtral-8x7b"},       {{"8GB"}, "32GB", "gpt-oss-20b"},
                                 {{"6GB"}, "32GB", "gemma-3-12b"},          {{"2GB"}, "16GB", "qwen3-1.7b"}};
  for (const Row& row : rows) {
    for (const Request& request : {Request{}, Request{.batch = 4, .prompt_tokens = 100, .new_tokens = 20}}) {
      Result<Model> model = ZooModel(row.model);
      ASSERT_TRUE(model.ok()) << row.model;
      Case c{*std::move(model), *BuildMachine({.gpus = row.gpus, .cpu = row.cpu, .disk = "500GB"}, {})};
      CompareAll(c.task(request), native, torch);
    }
  }
  EXPECT_GT(native.fit, 60);
  EXPECT_GT(torch.fit, 40);
  ExpectWithin("native first token", native.first_token, 0.94, 1.11);
  ExpectWithin("native per token", native.per_token, 0.99, 1.18);
  ExpectWithin("torch first token", torch.first_token, 0.92, 1.01);
  ExpectWithin("torch per token", torch.per_token, 0.94, 1.01);
  ExpectWithin("torch peak", torch.torch_peak, 1, 1.54);
}

}  // namespace
}  // namespace stowage

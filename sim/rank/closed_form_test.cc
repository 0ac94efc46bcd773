#include "planner/strategy/closed_form.h"

#include <gtest/gtest.h>

#include "planner/machine/build_machine.h"
#include "planner/quant/quantize.h"
#include "planner/strategy/registry.h"
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
    if (!strategy.closed_form) continue;
    const std::string why_not = strategy.closed_form(c.task()).why_not;
    EXPECT_EQ(why_not.empty(), ranked.fits) << ranked.name;
    if (strategy.runtime == "torch") {
      EXPECT_EQ(why_not, "eager torch with nf4 weights is not simulated yet");
    }
  }
}

// The referee is the simulation: no simulated time is below the bound, and peaks agree within a tenth.
TEST(ClosedForm, BoundsAndPeaksAgreeWithTheSimulation) {
  for (const char* gpu : {"t4", "8GB", "rtx4090", "a100-80gb"}) {
    for (const Request& request : {Request{}, Request{.batch = 4, .prompt_tokens = 100, .new_tokens = 20}}) {
      const Case c = On(gpu, "llama-3.1-8b");
      const std::vector<Strategy> all = AllStrategies();
      for (const Ranked& ranked : Rank(all, c.task(request))) {
        const Strategy& strategy = *FindStrategy(all, ranked.name)->strategy;
        if (!strategy.closed_form) continue;
        const ClosedForm form = strategy.closed_form(c.task(request));
        EXPECT_EQ(form.why_not.empty(), ranked.fits) << gpu << " " << ranked.name << ": " << form.why_not;
        if (!ranked.fits) continue;
        EXPECT_LE(form.first_token, ranked.first_token) << gpu << " " << ranked.name;
        // The sample's passes are a gift of one ring: docs/impl.md.
        EXPECT_LE(form.per_token.value(), ranked.per_token->value() * 1.05) << gpu << " " << ranked.name;
        EXPECT_GT(form.per_token.value(), ranked.per_token->value() * 0.25) << gpu << " " << ranked.name;
        const double peak = static_cast<double>(ranked.timeline.pools[0].peak.bytes.value());
        EXPECT_NEAR(static_cast<double>(form.peak[0].second.value()) / peak, 1, 0.1) << gpu << " " << ranked.name;
      }
    }
  }
}

}  // namespace
}  // namespace stowage

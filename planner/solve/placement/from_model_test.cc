#include "planner/solve/placement/from_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "planner/model/model.h"
#include "planner/solve/accelerate/infer.h"
#include "planner/solve/accelerate/placement_tree.h"

namespace stowage {
namespace {

// A decoder of `layers` blocks in the shape of llama's module tree.
Model Decoder(int layers, std::int64_t vocab, std::int64_t hidden, bool tied) {
  Model m;
  m.name = "decoder";
  m.shape = {.layers = layers, .hidden = hidden, .intermediate = 4 * hidden, .vocab = vocab};
  m.no_split_classes = {"Layer"};
  const auto module = [&](std::string name, std::string class_name, ModuleId parent) {
    const auto id = static_cast<ModuleId>(m.modules.size());
    m.modules.push_back({std::move(name), std::move(class_name), parent, {}, {}});
    if (parent != kNoId) m.modules[parent].children.push_back(id);
    return id;
  };
  const auto weight = [&](ModuleId owner, Shape shape) {
    const auto id = static_cast<TensorId>(m.tensors.size());
    Tensor t;
    t.name = m.modules[owner].name + ".weight";
    t.shape = std::move(shape);
    t.dtype = DType::kBF16;
    t.module = owner;
    m.tensors.push_back(t);
    m.modules[owner].tensors.push_back(id);
    return id;
  };
  const ModuleId root = module("", "Decoder", kNoId);
  const ModuleId inner = module("model", "Inner", root);
  const TensorId embed = weight(module("model.embed_tokens", "Embedding", inner), {vocab, hidden});
  const ModuleId list = module("model.layers", "ModuleList", inner);
  for (int i = 0; i < layers; ++i) {
    const std::string name = "model.layers." + std::to_string(i);
    const ModuleId layer = module(name, "Layer", list);
    weight(module(name + ".mlp", "Linear", layer), {12 * hidden, hidden});
  }
  weight(module("model.norm", "RMSNorm", inner), {hidden});
  module("model.rotary_emb", "Rotary", inner);
  const TensorId head = weight(module("lm_head", "Linear", root), {vocab, hidden});
  if (tied) {
    m.tensors[head].tied_to = embed;
    m.tied_groups = {{embed, head}};
  }
  return m;
}

Machine MachineOf(const std::vector<Bytes>& gpus, Bytes host) {
  Machine m;
  m.name = "test";
  for (std::size_t g = 0; g < gpus.size(); ++g) {
    const std::string name = "gpu" + std::to_string(g);
    m.gpus.push_back({"generic", name, 80});
    m.pools.push_back({name, PoolKind::kGpu, gpus[g], std::nullopt});
    ComputeRate rate;
    rate.bf16 = FlopsPerSecond(100e12);
    rate.memory = BytesPerSecond(1000e9);
    m.resources.push_back({name + ".sm", false, rate, std::nullopt});
    m.resources.push_back(
        {name + ".h2d", false, std::nullopt, TransferRate{Seconds(1e-5), BytesPerSecond(12e9), BytesPerSecond(6e9)}});
  }
  m.pools.push_back({"host", PoolKind::kHost, host, std::nullopt});
  m.pools.push_back({"disk", PoolKind::kDisk, Bytes(0), std::nullopt});
  ComputeRate cores;
  cores.fp32 = FlopsPerSecond(200e9);
  cores.memory = BytesPerSecond(30e9);
  m.resources.push_back({"host.cores", false, cores, std::nullopt});
  m.resources.push_back(
      {"disk0", false, std::nullopt, TransferRate{Seconds(1e-4), BytesPerSecond(2e9), BytesPerSecond(2e9)}});
  return m;
}

// 256 B a position in all, of two or twelve layers.
Bytes HalfOf256(std::int64_t layer, std::int64_t positions) { return Bytes(layer < 2 ? 128 * positions : 0); }
Bytes TwelfthOf60(std::int64_t, std::int64_t positions) { return Bytes(5 * positions); }

TEST(ChainOf, HasBlocksWholeAndTheModulesBetween) {
  const Model model = Decoder(2, 1000, 64, true);
  const Result<ModelChain> chain = ChainOf(model, {}, MachineOf({Bytes(1 << 30)}, Bytes(0)), {HalfOf256});
  ASSERT_TRUE(chain.ok()) << chain.error().message;
  const std::vector<std::vector<std::string>> names = {
      {"model.embed_tokens"}, {"model.layers.0"}, {"model.layers.1"}, {"model.norm", "model.rotary_emb"}, {"lm_head"}};
  EXPECT_EQ(chain->names, names);
  const std::vector<ChainUnit>& units = chain->problem.units;
  EXPECT_EQ(units[0].weights, Bytes(128'000));
  EXPECT_EQ(units[1].weights, Bytes(12 * 64 * 64 * 2));
  EXPECT_EQ(units[1].state, Bytes(128 * (512 + 127)));  // half of the cache
  EXPECT_EQ(units[4].transient, Bytes(512 * 1000 * 2 + 1000 * 4));
  ASSERT_EQ(chain->problem.ties.size(), 1u);
  EXPECT_EQ(chain->problem.ties[0].units, (std::vector<std::int32_t>{0, 4}));
  EXPECT_EQ(chain->problem.ties[0].shared, Bytes(128'000));
}

TEST(ChainOf, RefusesAModelWithoutBlocks) {
  Model model = Decoder(2, 1000, 64, false);
  model.no_split_classes.clear();
  const Result<ModelChain> chain = ChainOf(model, {}, MachineOf({Bytes(1 << 30)}, Bytes(0)), {});
  ASSERT_FALSE(chain.ok());
  EXPECT_EQ(chain.error().message, "'decoder': no module is known as a no-split block");
}

// accelerate's map read as a placement of the chain's units; what lies on its "cpu" runs on the first GPU of the map,
// so a map that offloads is one of ours only if that keeps the order of runs.
std::vector<UnitPlacement> Read(const ModelChain& chain, const accelerate::DeviceMap& map) {
  std::int32_t first = 1000;
  for (const auto& [name, key] : map) {
    if (key.kind == accelerate::DeviceKind::kAccelerator) first = std::min(first, static_cast<std::int32_t>(key.index));
  }
  std::vector<UnitPlacement> units;
  for (const std::vector<std::string>& names : chain.names) {
    auto at = map.find(names[0]);
    for (std::string key = names[0]; at == map.end() && !key.empty();) {
      const std::size_t dot = key.rfind('.');
      key = dot == std::string::npos ? "" : key.substr(0, dot);
      at = map.find(key);
    }
    if (at == map.end()) return {};
    const bool gpu = at->second.kind == accelerate::DeviceKind::kAccelerator;
    units.push_back(gpu ? UnitPlacement{static_cast<std::int32_t>(at->second.index), KeptOn::kDevice}
                        : UnitPlacement{first, KeptOn::kHost});
  }
  return units;
}

// 160 pairs of budgets, tied and untied, by accelerate's sequential rule and its balanced one.
TEST(Optimal, IsNeverWorseThanAMapOfAcceleratesThatFits) {
  int fit = 0, better = 0;
  for (int trial = 0; trial < 160; ++trial) {
    const bool tied = trial % 2 == 1;
    const Model model = Decoder(12, 30'000, 512, tied);
    const std::vector<Bytes> gpus = {Bytes(40'000'000 + 1'700'000 * (trial % 37)),
                                     Bytes(50'000'000 + 2'300'000 * (trial % 41))};
    const Machine machine = MachineOf(gpus, Bytes(10'000'000'000));
    const Result<ModelChain> chain = ChainOf(model, {.prompt_tokens = 16, .new_tokens = 8}, machine, {TwelfthOf60});
    ASSERT_TRUE(chain.ok());
    const Result<ChainPlacement> best = SolvePlacement(chain->problem);
    const accelerate::PlacementTree tree = accelerate::TreeOf(model);
    accelerate::MaxMemory budgets = {
        {{accelerate::DeviceKind::kAccelerator, 0}, accelerate::Number::Int(gpus[0].value())},
        {{accelerate::DeviceKind::kAccelerator, 1}, accelerate::Number::Int(gpus[1].value())},
        {{accelerate::DeviceKind::kCpu, 0}, accelerate::Number::Int(10'000'000'000)}};
    if (trial % 4 < 2) {
      accelerate::BalanceOptions balance;
      balance.no_split = model.no_split_classes;
      const auto balanced = accelerate::BalancedMaxMemory(tree, budgets, balance);
      ASSERT_TRUE(balanced.ok());
      budgets = *balanced;
    }
    const auto inferred = accelerate::InferDeviceMap(tree, {.max_memory = budgets, .no_split = model.no_split_classes});
    if (!inferred) continue;
    const auto price = PricePlacement(chain->problem, Read(*chain, inferred->map), {0, 1});
    if (!price) continue;
    ++fit;
    ASSERT_TRUE(best.ok()) << best.error().message;
    EXPECT_TRUE(best->proven);
    EXPECT_LE(best->value, price->value + 1e-12);
    better += best->value < price->value - 1e-9 ? 1 : 0;
  }
  EXPECT_GT(fit, 20);
  EXPECT_GT(better, 5);
}

// accelerate's map for the GPUs in another order, its names those of the machine.
std::optional<accelerate::DeviceMap> Inferred(const Model& model, const std::vector<Bytes>& gpus,
                                              const std::vector<std::int32_t>& order, Bytes host, bool balanced) {
  const accelerate::PlacementTree tree = accelerate::TreeOf(model);
  accelerate::MaxMemory budgets;
  for (std::size_t i = 0; i < order.size(); ++i) {
    budgets.push_back({{accelerate::DeviceKind::kAccelerator, static_cast<std::int64_t>(i)},
                       accelerate::Number::Int(gpus[order[i]].value())});
  }
  budgets.push_back({{accelerate::DeviceKind::kCpu, 0}, accelerate::Number::Int(host.value())});
  if (balanced) {
    const auto caps = accelerate::BalancedMaxMemory(tree, budgets, {.no_split = model.no_split_classes});
    if (!caps) return std::nullopt;
    budgets = *caps;
  }
  auto inferred = accelerate::InferDeviceMap(tree, {.max_memory = budgets, .no_split = model.no_split_classes});
  if (!inferred) return std::nullopt;
  for (auto& [name, key] : inferred->map) {
    if (key.kind == accelerate::DeviceKind::kAccelerator) key.index = order[key.index];
  }
  return inferred->map;
}

// Three GPUs in every order, maps that run back and forth among them: with a free order ours is never worse, and
// nothing that the rules of the chain reject is counted.
TEST(Optimal, IsNeverWorseThanAMapInAnotherOrderWhenTheOrderIsFree) {
  int fit = 0, out_of_order = 0;
  for (int trial = 0; trial < 120; ++trial) {
    const Model model = Decoder(10, 30'000, 512, trial % 2 == 1);
    const std::vector<Bytes> gpus = {Bytes(35'000'000 + 1'700'000 * (trial % 37)),
                                     Bytes(30'000'000 + 2'300'000 * (trial % 41)),
                                     Bytes(25'000'000 + 1'100'000 * (trial % 29))};
    const Bytes host(trial % 5 == 0 ? 60'000'000 : 10'000'000'000);
    Machine machine = MachineOf(gpus, host);
    for (int g = 0; g < 3; ++g)
      machine.resources[2 * g].compute->memory = BytesPerSecond(400e9 * (1 + (trial + g) % 3));
    const auto objective = static_cast<PlacementObjective>(trial % 3);
    const Result<ModelChain> chain = ChainOf(model, {.prompt_tokens = 16, .new_tokens = 8}, machine,
                                             {.layer_cache = TwelfthOf60, .objective = objective, .any_order = true});
    ASSERT_TRUE(chain.ok());
    const Result<ChainPlacement> best = SolvePlacement(chain->problem);
    std::vector<std::int32_t> order = {0, 1, 2};
    do {
      const auto map = Inferred(model, gpus, order, host, trial % 4 < 2);
      if (!map) continue;
      const auto price = PricePlacement(chain->problem, Read(*chain, *map), order);
      if (!price) continue;
      ++fit;
      out_of_order += order[0] != 0 || order[1] != 1 ? 1 : 0;
      ASSERT_TRUE(best.ok()) << best.error().message;
      EXPECT_TRUE(best->proven) << trial;
      EXPECT_LE(best->value, price->value + 1e-12) << trial;
    } while (std::next_permutation(order.begin(), order.end()));
  }
  EXPECT_GT(fit, 60);
  EXPECT_GT(out_of_order, 40);
}

std::string BestMap(const Model& model, const Machine& machine) {
  const Result<ModelChain> chain = ChainOf(model, {.prompt_tokens = 1, .new_tokens = 1}, machine, {});
  if (!chain) return chain.error().message;
  const Result<ChainPlacement> best = SolvePlacement(chain->problem);
  if (!best) return best.error().message;
  return accelerate::WriteDeviceMap(DeviceMapOf(*chain, *best), accelerate::TreeOf(model));
}

// Blocks of 98 kB, embedding and head of 128 kB.
TEST(DeviceMapOf, NamesEveryUnit) {
  const Model model = Decoder(3, 1000, 64, false);
  EXPECT_EQ(BestMap(model, MachineOf({Bytes(260'000), Bytes(340'000)}, Bytes(10'000'000))), R"({
  "model.embed_tokens": 0,
  "model.layers.0": 0,
  "model.layers.1": 1,
  "model.layers.2": 1,
  "model.norm": 1,
  "model.rotary_emb": 1,
  "lm_head": 1
}
)");
  EXPECT_EQ(BestMap(model, MachineOf({Bytes(440'000)}, Bytes(10'000'000))), R"({
  "model.embed_tokens": "cpu",
  "model.layers.0": 0,
  "model.layers.1": 0,
  "model.layers.2": 0,
  "model.norm": 0,
  "model.rotary_emb": 0,
  "lm_head": "cpu"
}
)");  // 256 kB streamed; blocks would have to be all three
}

}  // namespace
}  // namespace stowage

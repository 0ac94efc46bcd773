#include "planner/strategy/torch/device_map_strategy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "planner/machine/build_machine.h"
#include "planner/plan/plan.h"
#include "planner/schedule/check.h"
#include "planner/schedule/dump.h"
#include "planner/strategy/torch/torch_resident.h"
#include "planner/zoo/zoo.h"

namespace stowage {
namespace {

struct Case {
  Model model = *ZooModel("llama-3.2-1b");
  Machine machine = *BuildMachine({.gpus = {"t4"}, .cpu = "30GB", .disk = "100GB"}, {});
  Request request{.batch = 1, .prompt_tokens = 20, .new_tokens = 8};

  Result<Lowered> Lower(const std::string& parameters) const {
    return DeviceMapStrategy().lower({.model = &model, .machine = &machine, .request = request}, parameters);
  }
};

// Names of the weights by where the plan keeps them.
std::map<std::string, std::int64_t> Homes(const Plan& plan) {
  std::map<std::string, std::int64_t> tensors;
  for (const TensorPlan& t : plan.tensors) {
    for (const Residency& r : t.parts) ++tensors[fmt::format("{} {}", Name(r.where), r.pool)];
  }
  return tensors;
}

constexpr const char* kMixed =
    R"({"model.embed_tokens": 0, "lm_head": 0, "model.norm": 0, "model.rotary_emb": 0, "model.layers.0": "cpu",
        "model.layers.1": "disk", "model.layers.2": 0, "model.layers.3": 0})";

Case FourLayers() {
  Case c;
  Model& m = c.model;
  const auto beyond = [](const std::string& name) {
    return name.starts_with("model.layers.") && std::stoi(name.substr(13)) >= 4;
  };
  // Tensors of layers 4 and up lose their module: no pass touches them, and a map need not name them.
  m.shape.layers = 4;
  std::vector<Tensor> kept;
  std::vector<TensorId> now(m.tensors.size(), kNoId);
  for (std::size_t i = 0; i < m.tensors.size(); ++i) {
    if (beyond(m.tensors[i].name)) continue;
    now[i] = static_cast<TensorId>(kept.size());
    kept.push_back(m.tensors[i]);
    if (kept.back().tied_to != kNoId) kept.back().tied_to = now[kept.back().tied_to];
  }
  m.tensors = std::move(kept);
  for (Module& module : m.modules) {
    std::erase_if(module.tensors, [&](TensorId t) { return now[t] == kNoId; });
    for (TensorId& t : module.tensors) t = now[t];
  }
  for (std::vector<TensorId>& group : m.tied_groups) {
    for (TensorId& t : group) t = now[t];
  }
  return c;
}

TEST(DeviceMapStrategy, ReadsFromTheDiskAndCopiesFromTheHostInEachPass) {
  const Case c = FourLayers();
  const Result<Lowered> lowered = c.Lower(kMixed);
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  const Status plan = CheckPlan(lowered->plan), schedule = CheckSchedule(lowered->schedule);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_TRUE(schedule.ok()) << schedule.error().message;
  EXPECT_EQ(Homes(lowered->plan), (std::map<std::string, std::int64_t>{
                                      {"resident gpu0", 2 * 9 + 2 + 2}, {"streamed disk", 9}, {"streamed host", 9}}));
  const Schedule& s = lowered->schedule;
  const Section prefill = s.phases[1].prologue;
  std::int64_t uploads = 0, reads = 0, hooks = 0;
  for (StepId id = prefill.begin; id < prefill.end; ++id) {
    const Step& step = s.steps[id];
    if (step.kind == StepKind::kCompute && s.kernels[step.kernel].name == "accelerate hook") ++hooks;
    if (step.kind == StepKind::kRead) {
      ++reads;
      EXPECT_TRUE(step.blocking);
      EXPECT_EQ(s.steps[id + 1].kind, StepKind::kCopy);
      EXPECT_EQ(s.steps[id + 2].kind, StepKind::kFree);
      EXPECT_EQ(s.steps[id + 3].kind, StepKind::kEmptyCache);
    }
    if (step.kind == StepKind::kCopy && s.buffers[step.writes[0].buffer].kind == BufferKind::kWeights) ++uploads;
  }
  EXPECT_EQ(reads, 9);
  EXPECT_EQ(uploads, 18);
  EXPECT_EQ(hooks, 4 * (1 + 2 + 4 + 3 + 2) + 5);  // all that holds parameters and is called, up to the root
}

TEST(DeviceMapStrategy, IsTorchResidentWithoutHooksWhenAllIsOnTheGpu) {
  const Case c;
  const Result<Lowered> mapped = c.Lower(R"({"": 0})");
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  const Result<Lowered> resident =
      TorchResidentStrategy().lower({.model = &c.model, .machine = &c.machine, .request = c.request}, "");
  const std::string a = Dump(mapped->schedule), b = Dump(resident->schedule);
  EXPECT_EQ(a.substr(a.find('\n')), b.substr(b.find('\n')));
}

TEST(DeviceMapStrategy, EveryOfAcceleratesMapsMakesAScheduleThatHolds) {
  for (const char* gpu : {"2GB", "2.6GB", "4GB", "t4"}) {
    for (const char* mode : {"auto", "balanced_low_0", "sequential", "optimal"}) {
      Case c;
      c.machine = *BuildMachine({.gpus = {gpu}, .cpu = "1200MB", .disk = "100GB"}, {});
      const Result<Lowered> lowered = c.Lower(mode);
      ASSERT_TRUE(lowered.ok()) << gpu << " " << mode << " " << lowered.error().message;
      const Status plan = CheckPlan(lowered->plan), schedule = CheckSchedule(lowered->schedule);
      EXPECT_TRUE(plan.ok()) << plan.error().message;
      EXPECT_TRUE(schedule.ok()) << schedule.error().message;
    }
  }
}

TEST(DeviceMapStrategy, MapsOverSeveralGpusMakeSchedulesThatHold) {
  for (const char* gpus : {"2GB,1.5GB", "3x2GB", "t4,2GB"}) {
    for (const char* mode : {"auto", "balanced", "balanced_low_0", "sequential", "optimal"}) {
      for (const std::int64_t tokens : {2, 9}) {
        Case c;
        c.machine = *BuildMachine({.gpus = {gpus}, .cpu = "4GB", .disk = "100GB"}, {});
        c.request.new_tokens = tokens;
        const Result<Lowered> lowered = c.Lower(mode);
        ASSERT_TRUE(lowered.ok()) << gpus << " " << mode << " " << lowered.error().message;
        const Status plan = CheckPlan(lowered->plan), schedule = CheckSchedule(lowered->schedule);
        EXPECT_TRUE(plan.ok()) << plan.error().message;
        EXPECT_TRUE(schedule.ok()) << schedule.error().message;
      }
    }
  }
}

TEST(DeviceMapStrategy, LayersOfEveryFamilyRunOnAnotherGpu) {
  for (const char* name : {"gpt2", "opt-125m", "gemma-2-2b", "gemma-3-1b", "mistral-7b-v0.1", "phi-3-mini"}) {
    Case c;
    c.model = *ZooModel(name);
    c.machine = *BuildMachine({.gpus = {"2x80GB"}, .cpu = "40GB", .disk = "100GB"}, {});
    c.request.batch = 2;
    const Result<Lowered> lowered = c.Lower("balanced");
    ASSERT_TRUE(lowered.ok()) << name << " " << lowered.error().message;
    const Status schedule = CheckSchedule(lowered->schedule);
    EXPECT_TRUE(schedule.ok()) << name << " " << schedule.error().message;
    EXPECT_EQ(lowered->schedule.pools[1].name, "gpu1");
  }
}

TEST(DeviceMapStrategy, RefusesOperandsOnTwoGpusAsTorchDoes) {
  Case c;
  c.machine = *BuildMachine({.gpus = {"2x24GB"}, .cpu = "4GB", .disk = "100GB"}, {});
  std::string map = R"({"model.embed_tokens": 0, "lm_head": 0, "model.norm": 0, "model.rotary_emb": 0)";
  for (int i = 1; i < 16; ++i) map += fmt::format(R"(, "model.layers.{}": 0)", i);
  for (const char* part : {"self_attn", "input_layernorm", "post_attention_layernorm"}) {
    map += fmt::format(R"(, "model.layers.0.{}": 0)", part);
  }
  const Result<Lowered> lowered = c.Lower(map + R"(, "model.layers.0.mlp": 1})");
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.error().message,
            "the device map gives add.Tensor of model.layers.0 operands on several GPUs: torch would raise "
            "(RuntimeError: Expected all tensors to be on the same device)");
}

std::string WhyNot(const Case& c, const std::string& parameters) {
  const Result<Lowered> lowered = c.Lower(parameters);
  return lowered.ok() ? "it is lowered" : lowered.error().message;
}

TEST(DeviceMapStrategy, RefusesMapsItCannotRun) {
  const Case c;
  EXPECT_EQ(WhyNot(c, "best"),
            "device map 'best': it is none of auto, balanced, balanced_low_0, sequential, optimal and a map in JSON");
  EXPECT_EQ(
      WhyNot(c, R"({"": "cpu"})"),
      "the device map puts no weight on the GPU: accelerate computes all of it on the CPU, which is not simulated");
  EXPECT_EQ(WhyNot(c, R"({"model": 0, "lm_head": 1})"),
            "tied parameters are on different devices: lm_head.weight on 1, model.embed_tokens.weight on 0, which is "
            "not simulated");
  EXPECT_EQ(WhyNot(c, R"({"": 1})"), "the device map puts the model on device 1, and the machine has 1 GPU");
  EXPECT_EQ(WhyNot(c, R"({"model": 0})"), "the device map gives no device for lm_head.weight (ValueError)");
}

// transformers 5 holds the experts of a layer as two tensors; they are where their layer is.
TEST(DeviceMapStrategyTest, AMapOfWholeLayersPlacesStackedExperts) {
  Case c{.model = *ZooModel("qwen3-30b-a3b"), .machine = *BuildMachine({.gpus = {"80GB"}, .cpu = "80GB"}, {})};
  std::string map = R"({"model.embed_tokens": 0, "model.norm": 0, "model.rotary_emb": 0, "lm_head": 0)";
  for (int l = 0; l < 48; ++l) map += fmt::format(R"(, "model.layers.{}": {})", l, l == 7 ? R"("cpu")" : "0");
  const Result<Lowered> lowered = c.Lower(map + "}");
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  for (const TensorPlan& t : lowered->plan.tensors) {
    const bool off = t.name.starts_with("model.layers.7.");
    for (const Residency& r : t.parts) EXPECT_EQ(r.pool, off ? "host" : "gpu0") << t.name;
  }
  std::string split = map.replace(map.find(R"("model.layers.7": "cpu")"), 23,
                                  R"("model.layers.7.self_attn": 0, "model.layers.7.input_layernorm": 0,)"
                                  R"("model.layers.7.post_attention_layernorm": 0, "model.layers.7.mlp": "cpu")");
  const Result<Lowered> refused = c.Lower(split + "}");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "transformers holds 'model.layers.7.mlp.experts.gate_up_proj' in place of several tensors of "
            "model.layers.7, which the map splits");
}

}  // namespace
}  // namespace stowage

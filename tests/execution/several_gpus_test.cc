// The tiny llamas over several host devices: the same tokens as on one, whatever the stages and micro-batches.
#include <algorithm>

#include "tests/execution/golden_llama.h"

namespace stowage {
namespace {

class SeveralGpus : public GoldenLlama {
 protected:
  // `batch` prompts: the golden one, and others that are its rotations.
  Result<Generated> Tokens(const Model& model, const std::string& strategy, const std::string& gpus,
                           std::int64_t batch) {
    STOWAGE_TRY(const Lowered lowered, LoweredOn(model, strategy, gpus, batch));
    return Run(model, lowered, batch);
  }

  Result<Lowered> LoweredOn(const Model& model, const std::string& strategy, const std::string& gpus,
                            std::int64_t batch) {
    STOWAGE_TRY(const Machine machine, BuildMachine({.gpus = {gpus}, .cpu = "1GB"}, {}));
    Request request = RequestFor(model);
    request.batch = batch;
    request.all_logits = false;
    const std::vector<Strategy> all = AllStrategies();
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, strategy));
    return choice.strategy->lower({.model = &model, .machine = &machine, .request = request}, choice.parameters);
  }

  Result<Generated> Run(const Model& model, const Lowered& lowered, std::int64_t batch) {
    STOWAGE_RETURN_IF_ERROR(CheckSchedule(lowered.schedule));
    STOWAGE_TRY(DeviceSet devices, MakeHostDevices(lowered.schedule));
    std::vector<std::vector<std::int64_t>> prompts(static_cast<std::size_t>(batch), prompt_);
    for (std::size_t s = 0; s < prompts.size(); ++s) {
      std::rotate(prompts[s].begin(), prompts[s].begin() + static_cast<std::ptrdiff_t>(s), prompts[s].end());
    }
    return Generate(model, lowered.plan.request, lowered.schedule, devices, prompts, {});
  }
};

TEST_P(SeveralGpus, MakeTheTokensThatOneMakes) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const auto model = LoadLlama(folder_, dtype);
    ASSERT_TRUE(model) << model.error().message;
    const auto one = Tokens(*model, "resident", "host-device:20MB", 4);
    ASSERT_TRUE(one) << one.error().message;
    for (const char* gpus : {"2xhost-device:20MB", "host-device:20MB,host-device:16MB,host-device:20MB"}) {
      for (const char* strategy : {"pipeline:1", "pipeline:2", "pipeline:4", "device-map-ring:balanced"}) {
        const auto several = Tokens(*model, strategy, gpus, 4);
        ASSERT_TRUE(several) << strategy << ": " << several.error().message;
        EXPECT_EQ(several->tokens, one->tokens) << strategy << " on " << gpus;
      }
    }
  }
}

bool HasBuffer(const Schedule& schedule, const std::string& name) {
  return std::any_of(schedule.buffers.begin(), schedule.buffers.end(), [&](const Buffer& b) { return b.name == name; });
}

TEST_P(SeveralGpus, MakeTheSameTokensWithARingOnEach) {
  const auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model) << model.error().message;
  const auto one = Tokens(*model, "resident", "host-device:20MB", 2);
  ASSERT_TRUE(one) << one.error().message;
  int tried = 0;  // budgets between those that hold too little and those that hold everything
  for (int kilobytes = 100; kilobytes <= 900; kilobytes += 100) {
    for (const char* gpus : {"2xhost-device:{0}KB", "host-device:{0}KB,host-device:{0}KB,host-device:{0}KB"}) {
      const auto lowered = LoweredOn(*model, "rings", fmt::format(fmt::runtime(gpus), kilobytes), 2);
      if (!lowered) continue;
      ASSERT_TRUE(HasBuffer(lowered->schedule, "ring") || HasBuffer(lowered->schedule, "ring.gpu1"));
      const auto several = Run(*model, *lowered, 2);
      ASSERT_TRUE(several) << several.error().message;
      EXPECT_EQ(several->tokens, one->tokens) << gpus << " of " << kilobytes;
      ++tried;
    }
  }
  EXPECT_GE(tried, 2);
}

// The first layer on gpu0, the second one and an untied head in host memory, the others on gpu1.
TEST_P(SeveralGpus, MakeTheSameTokensByAMapWithPartsOnTheHost) {
  const auto model = LoadLlama(folder_, DType::kF32);
  ASSERT_TRUE(model) << model.error().message;
  std::string map = R"({"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": 1, "lm_head": )";
  map += model->tied_groups.empty() ? R"("cpu")" : "0";
  for (std::int64_t l = 0; l < model->shape.layers; ++l) {
    map += fmt::format(R"(, "model.layers.{}": {})", l, l == 0 ? "0" : l == 1 ? R"("cpu")" : "1");
  }
  const auto one = Tokens(*model, "resident", "host-device:20MB", 2);
  ASSERT_TRUE(one) << one.error().message;
  const auto lowered = LoweredOn(*model, "device-map-ring:" + map + "}", "2xhost-device:20MB", 2);
  ASSERT_TRUE(lowered) << lowered.error().message;
  ASSERT_TRUE(HasBuffer(lowered->schedule, "ring"));
  const auto several = Run(*model, *lowered, 2);
  ASSERT_TRUE(several) << several.error().message;
  EXPECT_EQ(several->tokens, one->tokens);
}

INSTANTIATE_TEST_SUITE_P(Tiny, SeveralGpus, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

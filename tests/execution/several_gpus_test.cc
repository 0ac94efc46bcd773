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
    STOWAGE_TRY(const Machine machine, BuildMachine({.gpus = {gpus}, .cpu = "1GB"}, {}));
    Request request = RequestFor(model);
    request.batch = batch;
    request.all_logits = false;
    const std::vector<Strategy> all = AllStrategies();
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, strategy));
    STOWAGE_TRY(const Lowered lowered,
                choice.strategy->lower({.model = &model, .machine = &machine, .request = request}, choice.parameters));
    STOWAGE_RETURN_IF_ERROR(CheckSchedule(lowered.schedule));
    STOWAGE_TRY(DeviceSet devices, MakeHostDevices(lowered.schedule));
    std::vector<std::vector<std::int64_t>> prompts(static_cast<std::size_t>(batch), prompt_);
    for (std::size_t s = 0; s < prompts.size(); ++s) {
      std::rotate(prompts[s].begin(), prompts[s].begin() + static_cast<std::ptrdiff_t>(s), prompts[s].end());
    }
    return Generate(model, request, lowered.schedule, devices, prompts, {});
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

INSTANTIATE_TEST_SUITE_P(Tiny, SeveralGpus, testing::Values("llama", "llama-tied", "qwen2", "qwen3"), GoldenName);

}  // namespace
}  // namespace stowage

// The tiny llamas of STOWAGE_SHARED/data/golden, planned and run: the fixture of the tests in this folder.
#ifndef STOWAGE_TESTS_EXECUTION_GOLDEN_LLAMA_H_
#define STOWAGE_TESTS_EXECUTION_GOLDEN_LLAMA_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "exec/generate/generate.h"
#include "exec/run/execute.h"
#include "planner/families/attach.h"
#include "planner/families/families.h"
#include "planner/formats/checkpoint.h"
#include "planner/formats/hf_config.h"
#include "planner/machine/build_machine.h"
#include "planner/schedule/check.h"
#include "planner/strategy/registry.h"

namespace stowage {

inline Result<Model> LoadLlama(const std::string& folder, DType dtype) {
  STOWAGE_TRY(const HfConfig config, HfConfig::Read(folder + "/config.json"));
  STOWAGE_TRY(Model model, BuildModel(config, "llama"));
  STOWAGE_TRY(const Checkpoint checkpoint, ReadCheckpoint(*FindCheckpoint(folder)));
  STOWAGE_RETURN_IF_ERROR(AttachCheckpoint(model, checkpoint, folder));
  SetDType(model, dtype);
  return model;
}

inline DType FileDType(const Model& model) { return model.tensors[0].source->dtype; }

template <class T>
std::vector<T> ReadGolden(const std::string& folder, std::string_view name) {
  const auto golden = ReadCheckpoint(folder + "/golden.safetensors");
  EXPECT_TRUE(golden);
  for (const CheckpointTensor& tensor : golden->tensors) {
    if (tensor.name != name) continue;
    std::vector<T> out(static_cast<std::size_t>(Elements(tensor.shape)));
    std::ifstream file(golden->files[tensor.source.file], std::ios::binary);
    file.seekg(tensor.source.offset);
    file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(T)));
    EXPECT_TRUE(file);
    return out;
  }
  ADD_FAILURE() << name << " is not in " << folder;
  return {};
}

class GoldenLlama : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const char* shared = std::getenv("STOWAGE_SHARED");
    if (shared == nullptr) GTEST_SKIP() << "STOWAGE_SHARED is not set";
    folder_ = fmt::format("{}/data/golden/{}", shared, GetParam());
    if (!std::ifstream(folder_ + "/config.json")) GTEST_SKIP() << "there is no " << folder_;
    prompt_ = ReadGolden<std::int64_t>(folder_, "input_ids");
  }

  // `small_host`: no more host memory than the strategy must have, so that the rest stays on the disk.
  Result<Schedule> Lower(const Model& model, const std::string& strategy, const std::string& gpu,
                         bool small_host = false) {
    STOWAGE_TRY(Machine machine, BuildMachine({.gpus = {"host-device:" + gpu}, .cpu = "1GB"}, {}));
    const PlanningTask task{.model = &model, .machine = &machine, .request = RequestFor(model)};
    const std::vector<Strategy> all = AllStrategies();
    STOWAGE_TRY(const StrategyChoice choice, FindStrategy(all, strategy));
    if (small_host) {
      STOWAGE_TRY(machine.pools[machine.FindPool("host")].budget, choice.strategy->smallest_host_budget(task));
    }
    STOWAGE_TRY(Lowered lowered, choice.strategy->lower(task, choice.parameters));
    STOWAGE_RETURN_IF_ERROR(CheckSchedule(lowered.schedule));
    return std::move(lowered.schedule);
  }

  Result<Generated> Run(const Model& model, const Schedule& schedule, Result<DeviceSet> devices,
                        std::optional<std::int32_t> first_issuer = std::nullopt) {
    if (!devices) return std::move(devices).error();
    return Generate(model, RequestFor(model), schedule, *devices, {prompt_}, {.first_issuer = first_issuer});
  }

  Request RequestFor(const Model& model) const {
    return {.prompt_tokens = static_cast<std::int64_t>(prompt_.size()),
            .new_tokens = 16,
            .dtype = model.tensors[0].dtype,
            .all_logits = true};
  }

  std::string folder_;
  std::vector<std::int64_t> prompt_;
};

// What gpu0 may hold beside 250 kB, in percent of the weights.
struct Budgeted {
  const char* strategy;
  int percent;
  bool small_host = false;
  std::string Gpu(const Model& model) const {
    return fmt::format("{}", 250'000 + model.WeightBytes().value() * percent / 100);
  }
};
inline constexpr Budgeted kBudgeted[] = {{"resident", 100},
                                         {"ring", 40},
                                         {"ring:100KB", 20},
                                         {"ring:131072:tensors", 30},
                                         {"ring:65536:rows", 10},
                                         {"ring:90KB:rows", 25},
                                         {"layers:0", 0},
                                         {"layers:1", 60},
                                         {"layers:2", 80},
                                         {"ring:100KB:cpu=50%", 60},
                                         {"ring:65536:rows:cpu=30%:cpu-kv", 40},
                                         {"ring", 30, true},
                                         {"ring:65536:rows", 10, true}};

inline std::string GoldenName(const testing::TestParamInfo<std::string>& info) {
  return info.param == "llama"   ? "Llama"
         : info.param == "qwen2" ? "Qwen2"
         : info.param == "qwen3" ? "Qwen3"
                                 : "LlamaTied";
}

}  // namespace stowage

#endif  // STOWAGE_TESTS_EXECUTION_GOLDEN_LLAMA_H_

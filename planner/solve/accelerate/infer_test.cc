#include "planner/solve/accelerate/infer.h"

#include <gtest/gtest.h>

#include "planner/model/model.h"

namespace stowage::accelerate {
namespace {

// A tree in Python's order of registration; every parameter is a float16 vector.
class TreeMaker {
 public:
  TreeMaker() { model.modules.push_back({.class_name = "Model"}); }

  ModuleId Add(ModuleId parent, const std::string& name, const std::string& class_name) {
    const ModuleId id = static_cast<ModuleId>(model.modules.size());
    const std::string& prefix = model.modules[parent].name;
    model.modules.push_back(
        {.name = prefix.empty() ? name : prefix + "." + name, .class_name = class_name, .parent = parent});
    model.modules[parent].children.push_back(id);
    return id;
  }

  TensorId Param(ModuleId module, const std::string& name, std::int64_t bytes, TensorId tied_to = kNoId) {
    const TensorId id = static_cast<TensorId>(model.tensors.size());
    const std::string& prefix = model.modules[module].name;
    model.tensors.push_back({.name = prefix.empty() ? name : prefix + "." + name,
                             .shape = {bytes / 2},
                             .dtype = DType::kF16,
                             .module = module,
                             .tied_to = tied_to});
    model.modules[module].tensors.push_back(id);
    return id;
  }

  TensorId Buffer(ModuleId module, const std::string& name, std::int64_t bytes, bool persistent = true) {
    const TensorId id = Param(module, name, bytes);
    model.tensors[id].buffer = true;
    model.tensors[id].persistent = persistent;
    return id;
  }

  Model model;
};

// embed 100 B, two blocks of 200 B, head 100 B that may be tied to embed.
TreeMaker SmallModel(bool tied) {
  TreeMaker maker;
  const TensorId weight = maker.Param(maker.Add(0, "embed", "Embedding"), "weight", 100);
  for (const char* name : {"0", "1"}) {
    const ModuleId block = maker.Add(0, name, "Block");
    maker.Param(maker.Add(block, "a", "Linear"), "weight", 120);
    maker.Param(maker.Add(block, "b", "Linear"), "weight", 80);
  }
  maker.Param(maker.Add(0, "head", "Linear"), "weight", 100, tied ? weight : kNoId);
  return maker;
}

MaxMemory Budgets(const std::string& json) {
  Result<MaxMemory> budgets = ReadMaxMemory(json);
  EXPECT_TRUE(budgets.ok()) << budgets.error().message;
  return *budgets;
}

std::string Infer(const Model& model, InferOptions options) {
  const PlacementTree tree = TreeOf(model);
  const Result<Inferred> inferred = InferDeviceMap(tree, options);
  return inferred ? WriteDeviceMap(inferred->map, tree) : inferred.error().message;
}

TEST(InferDeviceMap, PutsEverythingOnOneDeviceAsOneEntry) {
  EXPECT_EQ(Infer(SmallModel(false).model, {.max_memory = Budgets(R"({"0": 600})"), .no_split = {"Block"}}),
            "{\n  \"\": 0\n}\n");
}

TEST(InferDeviceMap, KeepsRoomForTheLargestLayerLeftOnTheFirstDeviceAndTheCpu) {
  // embed takes 100 of 499, block 0 needs 200 more while block 1 (200) is kept free: 500 > 499.
  EXPECT_EQ(
      Infer(SmallModel(false).model, {.max_memory = Budgets(R"({"0": 499, "cpu": 1000})"), .no_split = {"Block"}}),
      "{\n  \"embed\": 0,\n  \"0\": \"cpu\",\n  \"1\": \"cpu\",\n  \"head\": \"cpu\"\n}\n");
}

TEST(InferDeviceMap, SplitsABlockThatMayBeSplit) {
  EXPECT_EQ(Infer(SmallModel(false).model, {.max_memory = Budgets(R"({"0": 440, "1": 300})")}),
            "{\n  \"embed\": 0,\n  \"0\": 0,\n  \"1\": 1,\n  \"head\": 1\n}\n");
}

TEST(InferDeviceMap, PlacesTiedModulesTogether) {
  EXPECT_EQ(Infer(SmallModel(true).model, {.max_memory = Budgets(R"({"0": 300, "1": 400})"), .no_split = {"Block"}}),
            "{\n  \"embed\": 0,\n  \"0\": 1,\n  \"1\": 1,\n  \"head\": 0\n}\n");
}

TEST(InferDeviceMap, NeverReturnsToADeviceWithRoom) {
  const std::string map =
      Infer(SmallModel(false).model,
            {.max_memory = Budgets(R"({"0": 0, "1": 150, "2": 350, "cpu": 0})"), .no_split = {"Block"}});
  EXPECT_EQ(map, "{\n  \"embed\": 1,\n  \"0\": 2,\n  \"1\": \"disk\",\n  \"head\": \"disk\"\n}\n");
}

TEST(InferDeviceMap, LosesBuffersOfASplitModule) {
  TreeMaker maker;
  const ModuleId stage = maker.Add(0, "stage", "Stage");
  maker.Param(stage, "scale", 20);
  maker.Buffer(stage, "table", 40);
  maker.Param(maker.Add(stage, "a", "Linear"), "weight", 100);
  maker.Param(maker.Add(stage, "b", "Linear"), "weight", 100);
  maker.Buffer(0, "mask", 10);
  EXPECT_EQ(Infer(maker.model, {.max_memory = Budgets(R"({"0": 225, "1": 200})"), .clean = false}),
            "{\n  \"mask\": 1,\n  \"stage.scale\": 0,\n  \"stage.a\": 0,\n  \"stage.b\": 0\n}\n");
}

TEST(InferDeviceMap, FailsLikePythonWhenATiedParameterIsAnItemItself) {
  TreeMaker maker;
  const TensorId weight = maker.Param(0, "weight", 100);
  maker.Param(maker.Add(0, "head", "Linear"), "weight", 100, weight);
  // "weight." occurs in "head.weight.": the root's own parameter is taken for a module around both, and is gone when
  // the head looks for what it is tied to.
  EXPECT_EQ(Infer(maker.model, {.max_memory = Budgets(R"({"0": 1000})")}),
            "head: the tied parameter weight has no module left that it could be placed with (IndexError)");
}

TEST(InferDeviceMap, PlacesAModuleWithTheRootsOwnParameterThatItIsTiedTo) {
  TreeMaker maker;
  const TensorId own = maker.Param(0, "x", 100);
  maker.Param(maker.Add(0, "head", "Linear"), "weight", 100, own);
  EXPECT_EQ(Infer(maker.model, {.max_memory = Budgets(R"({"0": 1000})")}), "{\n  \"\": 0\n}\n");
}

TEST(InferDeviceMap, SaysWhichDevicesStayedEmptyAndThatBuffersHaveNoHome) {
  TreeMaker maker;
  const ModuleId block = maker.Add(0, "block", "Linear");
  maker.Param(block, "weight", 100);
  maker.Buffer(block, "table", 60);
  const PlacementTree tree = TreeOf(maker.model);
  const Result<Inferred> inferred = InferDeviceMap(tree, {.max_memory = Budgets(R"({"0": 50, "cpu": 1000})")});
  ASSERT_TRUE(inferred.ok());
  ASSERT_EQ(inferred->skipped.size(), 1u);
  EXPECT_EQ(inferred->skipped[0].second.Text(), "160");
  ASSERT_TRUE(inferred->homeless_buffers.has_value());
  EXPECT_EQ(inferred->homeless_buffers->Text(), "60");
}

}  // namespace
}  // namespace stowage::accelerate

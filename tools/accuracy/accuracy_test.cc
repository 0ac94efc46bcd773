#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "planner/formats/file.h"
#include "planner/model/model.h"
#include "planner/zoo/zoo.h"
#include "reports/published/published.h"
#include "tools/accuracy/markdown.h"
#include "tools/accuracy/old_masks.h"

namespace stowage {
namespace {

TEST(Accuracy, TheCommittedPageIsWhatIsGenerated) {
  const Result<std::string> page = AccuracyPage();
  ASSERT_TRUE(page) << page.error().message;
  const Result<std::string> committed = ReadTextFile("docs/accuracy.md", 1 << 20);
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_EQ(*committed, *page) << "bazel run //tools/accuracy -- --out docs/accuracy.md";
}

// A constant is taken from one figure of its machine, so no row has one of its own.
TEST(Accuracy, EveryFigureThatGivesAConstantNamesOneOfItsMachine) {
  for (const published::Table* table : published::Tables()) {
    for (const published::Row& row : table->rows) {
      for (const published::Figure& figure : row.figures) {
        if (figure.calibrates.empty()) continue;
        const auto names = [&](const published::Constant& c) { return c.name.find(figure.calibrates) != c.name.npos; };
        const auto& constants = table->machine->constants;
        EXPECT_TRUE(std::any_of(constants.begin(), constants.end(), names)) << row.label << ": " << figure.calibrates;
      }
    }
  }
}

TEST(Accuracy, EveryRowThatIsNotPredictedSaysWhy) {
  for (const published::Table* table : published::Tables()) {
    for (const published::Row& row : table->rows)
      EXPECT_TRUE(!row.strategy.empty() || !row.remark.empty()) << row.label;
  }
}

TEST(Accuracy, OldMasksAreBuffersOfEachAttentionAndLeaveTheOthersInOrder) {
  const Model model = *ZooModel("gpt2");
  const Model old = WithStoredMasks(model, 1024);
  ASSERT_EQ(old.tensors.size(), model.tensors.size() + 12);
  std::vector<std::string> names, masks;
  for (const Tensor& t : old.tensors) {
    EXPECT_EQ(old.modules[t.module].name, t.name.substr(0, t.name.rfind('.')));
    (t.buffer ? masks : names).push_back(t.name);
  }
  std::vector<std::string> before;
  for (const Tensor& t : model.tensors) before.push_back(t.name);
  EXPECT_EQ(names, before);
  EXPECT_EQ(masks.front(), "transformer.h.0.attn.bias");
  EXPECT_EQ(old.WeightBytes(), model.WeightBytes());  // buffers are no weights
  ASSERT_EQ(old.tied_groups.size(), 1u);
  EXPECT_EQ(old.tensors[old.tied_groups[0][1]].name, "lm_head.weight");
  EXPECT_EQ(old.tensors[old.tied_groups[0][1]].tied_to, old.tied_groups[0][0]);
  TensorId next = 0;
  for (const Module& module : old.modules) {
    for (const TensorId id : module.tensors) EXPECT_EQ(id, next++) << module.name;
  }
}

}  // namespace
}  // namespace stowage

// Whole module trees of the families before llama and of the encoders against transformers' own, as
// tests/peer/classic_module_trees.py recorded them (see there for the form).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr const char* kGolden = "planner/families/goldens/classic_trees.txt";

std::string Line(const Model& model, const Module& m) {
  std::string out = (m.name.empty() ? "." : m.name) + " " + m.class_name;
  for (const TensorId id : m.tensors) {
    const Tensor& t = model.tensors[id];
    out += fmt::format("{}{}{}:{}{}", t.buffer ? " ~" : " ", t.name.substr(t.name.rfind('.') + 1), FormatShape(t.shape),
                       TorchName(t.dtype), t.persistent ? "" : "!");
  }
  return out + "\n";
}

std::string Tree(const Model& model) {
  std::int64_t parameters = 0;
  for (const Tensor& t : model.tensors) parameters += !t.buffer && t.tied_to == kNoId;
  std::string out = fmt::format("{} modules, {} parameters, {} elements; {}\n", model.modules.size(), parameters,
                                model.Parameters(), Join(model.no_split_classes, ", "));
  for (const Module& m : model.modules) out += Line(model, m);
  for (const auto& group : model.tied_groups) {
    for (std::size_t i = 1; i < group.size(); ++i) {
      out += fmt::format("tied: {} = {}\n", model.tensors[group[0]].name, model.tensors[group[i]].name);
    }
  }
  return out;
}

// Of the families whose modules transformers 5 made out of others: the parameters by name.
std::string Flat(const Model& model) {
  std::vector<std::string> lines;
  for (const Tensor& t : model.tensors) {
    if (!t.buffer) lines.push_back(fmt::format("{}{}:{}\n", t.name, FormatShape(t.shape), TorchName(t.dtype)));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{} parameters, {} elements\n{}", lines.size(), model.Parameters(), Join(lines, ""));
}

TEST(ClassicFamilies, EveryModuleTreeIsThatOfTransformers) {
  const Result<std::string> golden = ReadTextFile(kGolden, 1 << 20);
  ASSERT_TRUE(golden) << golden.error().message;
  std::size_t at = 0;
  int cases = 0;
  while (at < golden->size()) {
    ASSERT_EQ(golden->compare(at, 3, "== "), 0);
    const std::size_t line_end = golden->find('\n', at);
    const std::size_t brace = golden->find(" {", at);
    const std::string name = golden->substr(at + 3, brace - at - 3);
    const std::string config = golden->substr(brace + 1, line_end - brace - 1);
    const std::size_t next = std::min(golden->find("\n== ", line_end), golden->size() - 1) + 1;
    const Result<HfConfig> read = HfConfig::Parse(config, name);
    ASSERT_TRUE(read) << read.error().message;
    const Result<Model> model = BuildModel(*read, name);
    ASSERT_TRUE(model) << model.error().message;
    const bool restructured = model->family == "vit" || model->family == "clip_text_model";
    EXPECT_EQ(restructured ? Flat(*model) : Tree(*model), golden->substr(line_end + 1, next - line_end - 1)) << name;
    at = next;
    ++cases;
  }
  EXPECT_EQ(cases, 53);
}

}  // namespace
}  // namespace stowage

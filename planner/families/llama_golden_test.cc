// Whole module trees against transformers' own, as tests/peer/llama_module_tree.py recorded them (see there for the
// form).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/text.h"
#include "planner/families/families.h"
#include "planner/formats/file.h"

namespace stowage {
namespace {

constexpr const char* kGolden = "planner/families/goldens/llama_trees.txt";

std::string Line(const Model& model, const Module& m) {
  std::string out = (m.name.empty() ? "." : m.name) + " " + m.class_name;
  for (const TensorId id : m.tensors) {
    const Tensor& t = model.tensors[id];
    out += (t.buffer ? " ~" : " ") + t.name.substr(t.name.rfind('.') + 1) + FormatShape(t.shape);
    if (t.buffer) out += fmt::format(":{}{}", TorchName(t.dtype), t.persistent ? "" : "!");
  }
  return out + "\n";
}

// The index of the layer a module lies in, or -1; `rest` is its name with the index replaced.
std::int64_t LayerOf(const std::string& name, std::string& rest) {
  const std::size_t at = name.starts_with("layers.") ? 0 : name.find(".layers.") + 1;
  if (name.compare(at, 7, "layers.") != 0) return -1;
  const std::size_t digits = at + 7;
  const std::size_t end = std::min(name.find('.', digits), name.size());
  rest = name.substr(0, digits) + "#" + name.substr(end);
  return std::stoll(name.substr(digits, end - digits));
}

std::string Tree(const Model& model) {
  std::int64_t parameters = 0;
  for (const Tensor& t : model.tensors) parameters += !t.buffer && t.tied_to == kNoId;
  std::string out = fmt::format("{} modules, {} parameters, {} elements; {}\n", model.modules.size(), parameters,
                                model.Parameters(), Join(model.no_split_classes, ", "));
  std::vector<std::string> layers(static_cast<std::size_t>(model.shape.layers));
  for (const Module& m : model.modules) {
    Module renamed = m;
    const std::int64_t layer = LayerOf(m.name, renamed.name);
    if (layer >= 0) layers[layer] += Line(model, renamed);
    if (layer < 2) out += Line(model, m);
    if (layer == 2 && m.class_name == "LlamaDecoderLayer") {
      out += fmt::format("# layers 2..{} as layer 1\n", model.shape.layers - 1);
    }
  }
  for (std::size_t i = 2; i < layers.size(); ++i) EXPECT_EQ(layers[i], layers[1]) << i;
  for (const auto& group : model.tied_groups) {
    for (std::size_t i = 1; i < group.size(); ++i) {
      out += fmt::format("tied: {} = {}\n", model.tensors[group[0]].name, model.tensors[group[i]].name);
    }
  }
  return out;
}

TEST(Llama, EveryModuleTreeIsThatOfTransformers) {
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
    EXPECT_EQ(Tree(*model), golden->substr(line_end + 1, next - line_end - 1)) << name;
    at = next;
    ++cases;
  }
  EXPECT_EQ(cases, 13);
}

}  // namespace
}  // namespace stowage

#include "planner/formats/module_tree_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace stowage {
namespace {

std::string Shown(const std::string& text) {
  const Result<Model> model = ParseModuleTree(text, "m.modules.json", "m");
  if (!model) return model.error().message;
  std::string out;
  for (const Module& m : model->modules) {
    out += (m.name.empty() ? "." : m.name) + " " + m.class_name;
    if (m.same_as != kNoId) out += " == " + model->modules[m.same_as].name;
    for (const TensorId id : m.tensors) {
      const Tensor& t = model->tensors[id];
      out += fmt::format(" {}{}{}:{}", t.buffer ? "~" : "", t.name, FormatShape(t.shape), Name(t.dtype));
      if (!t.persistent) out += "!";
      if (t.tied_to != kNoId) out += "=" + model->tensors[t.tied_to].name;
    }
    out += "\n";
  }
  return out;
}

// A root with these children.
std::string Tree(const std::string& children, const std::string& rest = "") {
  return R"({"root": {"class": "Net", "children": [)" + children + "]}" + rest + "}";
}

constexpr const char* kW = R"("params": [{"name": "w", "shape": [2]}])";

TEST(ModuleTreeFile, ReadsModulesInRegistrationOrderWhateverTheOrderOfKeys) {
  EXPECT_EQ(Shown(R"({"no_split_modules": ["Block"], "root": {"children": [
        ["emb", {"class": "Embedding", "params": [{"dtype": "bfloat16", "shape": [8, 4], "name": "weight", "id": 1}]}],
        ["block", {"buffers": [{"name": "mask", "shape": [1, 4], "dtype": "bool", "persistent": false},
                               {"name": "mean", "shape": [], "id": "m"}],
                   "params": [{"name": "scale", "shape": [4], "dtype": "torch.float16"}], "class": "Block",
                   "training": true}]], "class": "Net"}})"),
            ". Net\n"
            "emb Embedding emb.weight[8, 4]:bf16\n"
            "block Block block.scale[4]:fp16 ~block.mask[1, 4]:bool! ~block.mean[]:fp32\n");
}

TEST(ModuleTreeFile, EqualIdsAndTiedGroupsTieToTheFirstRegistered) {
  const std::string same_id = R"("params": [{"name": "w", "shape": [2], "id": 5}])";
  const std::string text = Tree(R"(["a", {)" + same_id + R"(}], ["b", {)" + std::string(kW) + R"(}], ["c", {)" +
                                    same_id + R"(}], ["d", {)" + kW + "}]",
                                R"(, "tied_groups": [["d.w", "c.w"]])");
  EXPECT_EQ(Shown(text),
            ". Net\na Module a.w[2]:fp32\nb Module b.w[2]:fp32\nc Module c.w[2]:fp32=a.w\n"
            "d Module d.w[2]:fp32=a.w\n");
  const Model model = *ParseModuleTree(text, "x", "m");
  EXPECT_EQ(model.tied_groups, (std::vector<std::vector<TensorId>>{{0, 2, 3}}));
  EXPECT_EQ(model.Parameters(), 4);
  EXPECT_EQ(model.family, "module tree");
  EXPECT_EQ(model.class_name, "Net");
}

TEST(ModuleTreeFile, TiedGroupsKeepTheirOrderBeforeThoseOfIds) {
  const std::string w(kW);
  const std::string e = R"("params": [{"name": "w", "shape": [2], "id": 7}])";
  const Model model =
      *ParseModuleTree(Tree(R"(["e", {)" + e + R"(}], ["a", {)" + w + R"(}], ["b", {)" + w + R"(}], ["c", {)" + w +
                                R"(}], ["d", {)" + w + R"(}], ["f", {)" + e + "}]",
                            R"(, "tied_groups": [["d.w", "b.w"], ["a.w", "c.w"]])"),
                       "x", "m");
  EXPECT_EQ(model.tied_groups, (std::vector<std::vector<TensorId>>{{2, 4}, {1, 3}, {0, 5}}));
}

TEST(ModuleTreeFile, AModuleRegisteredAgainIsACopyTiedToTheFirst) {
  EXPECT_EQ(Shown(Tree(R"(["a", {"class": "A", "children": [["in", {)" + std::string(kW) + R"(}]]}],
                          ["b", {"same_module_object_as": "a"}],
                          ["c", {"children": [["d", {"same_module_object_as": "b.in"}]]}])")),
            ". Net\na A\na.in Module a.in.w[2]:fp32\nb A == a\nb.in Module == a.in b.in.w[2]:fp32=a.in.w\n"
            "c Module\nc.d Module == a.in c.d.w[2]:fp32=a.in.w\n");
}

TEST(ModuleTreeFile, RefusesWhatIsNoTreeNamingThePlace) {
  const std::string w = kW;
  EXPECT_EQ(Shown("{}"), "m.modules.json: has no root");
  EXPECT_EQ(Shown("[]"), "m.modules.json: byte 0: expected an object");
  EXPECT_EQ(Shown(R"({"root": {}})"), "m.modules.json: has no parameters");
  EXPECT_EQ(Shown(Tree(R"(["a", {}], ["a", {}])")), "m.modules.json: module '' has two 'a'");
  EXPECT_EQ(Shown(Tree(R"(["a.b", {}])")), "m.modules.json: module '': name 'a.b' has a dot");
  EXPECT_EQ(Shown(Tree(R"(["", {}])")), "m.modules.json: module '' has a part without a name");
  EXPECT_EQ(Shown(Tree(R"(["a", {"params": [{"name": "w"}, {"name": "w"}]}])")),
            "m.modules.json: module 'a' has two 'w'");
  EXPECT_EQ(Shown(Tree(R"(["a", {"same_module_object_as": "b"}], ["b", {}])")),
            "m.modules.json: module 'a' is the same object as 'b', which is not a module before it");
  EXPECT_EQ(Shown(Tree(R"(["a", {"children": [["b", {"same_module_object_as": "a"}]]}])")),
            "m.modules.json: module 'a.b' is the same object as 'a', which it lies in");
  EXPECT_EQ(Shown(Tree(R"(["a", {"params": [{"name": "w", "dtype": "int5"}]}])")),
            "m.modules.json: tensor 'a.w': dtype \"int5\" is not known");
  EXPECT_EQ(Shown(Tree(R"(["a", {)" + w + "}]", R"(, "tied_groups": [["a.w", "b.w"]])")),
            "m.modules.json: tied_groups names 'b.w', which is not a tensor of the tree");
  EXPECT_EQ(Shown(Tree(R"(["a", {)" + w + R"(}], ["b", {"params": [{"name": "w", "shape": [3]}]}])",
                       R"(, "tied_groups": [["a.w", "b.w"]])")),
            "m.modules.json: tied tensors differ: 'a.w' is fp32 [2], 'b.w' is fp32 [3]");
  EXPECT_EQ(Shown(R"({"root": {"children": [["a"]]}})"), "m.modules.json: byte 28: expected [name, module]");
}

TEST(ModuleTreeFile, RefusesSizesThatOverflow) {
  EXPECT_EQ(Shown(R"({"root": {"params": [{"name": "w", "shape": [0, 4611686018427387904, 4]}]}})"),
            "m.modules.json: tensor 'w' [0, 4611686018427387904, 4] has more than 2^62 bytes");
  const std::string big = R"("shape": [1073741824, 536870912], "dtype": "float64")";
  EXPECT_EQ(
      Shown(R"({"root": {"params": [{"name": "v", )" + big + R"(}, {"name": "w", )" + big + "}]}}"),
      "m.modules.json: tensor 'w': the tensors up to it have more than 2^62 bytes (4611686018427387904 before it)");
}

TEST(ModuleTreeFile, RefusesCopiesOfCopiesThatWouldFillTheMemory) {
  std::string children = R"(["m0", {)" + std::string(kW) + "}]";
  for (int i = 1; i < 40; ++i) {
    children += fmt::format(R"(, ["m{}", {{"children": [["a", {{"same_module_object_as": "m{}"}}],
                                 ["b", {{"same_module_object_as": "m{}"}}]]}}])",
                            i, i - 1, i - 1);
  }
  const std::string got = Shown(Tree(children));
  EXPECT_NE(got.find("the names up to here are far larger than the file"), std::string::npos) << got.substr(0, 200);
}

TEST(ModuleTreeFile, RefusesTreesDeeperThanTheScanner) {
  std::string text = R"({"root": )";
  for (int i = 0; i < 30; ++i) text += R"({"children": [["a", )";
  EXPECT_NE(Shown(text).find("nested deeper than 64"), std::string::npos);
}

}  // namespace
}  // namespace stowage

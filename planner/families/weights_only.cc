#include "planner/families/weights_only.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "planner/families/module_tree.h"

namespace stowage {
namespace {

// Beyond this a name is taken as it is: paths are repeated in every module below, and names come from files.
constexpr std::size_t kMaxModuleDepth = 16;

struct Prefix {
  std::string_view own;
  std::vector<std::size_t> children;   // into Tree::prefixes
  std::vector<std::size_t> tensors;    // into Checkpoint::tensors
  std::vector<std::string_view> leaf;  // the last part of each tensor's name
};

struct Tree {
  std::vector<Prefix> prefixes = {Prefix{}};
  std::unordered_map<std::string_view, std::size_t> found;  // by whole path

  void Insert(std::string_view name, std::size_t tensor) {
    std::size_t at = 0;
    std::size_t begin = 0;
    for (std::size_t depth = 0; depth < kMaxModuleDepth; ++depth) {
      const std::size_t dot = name.find('.', begin);
      if (dot == std::string_view::npos) break;
      const auto [it, is_new] = found.emplace(name.substr(0, dot), prefixes.size());
      if (is_new) {
        prefixes.push_back({.own = name.substr(begin, dot - begin)});
        prefixes[at].children.push_back(it->second);
      }
      at = it->second;
      begin = dot + 1;
    }
    prefixes[at].tensors.push_back(tensor);
    prefixes[at].leaf.push_back(name.substr(begin));
  }
};

bool IsNumber(std::string_view text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Siblings that are all numbers are the items of a list; files have them in the order of their text.
void SortNumbered(Tree& tree) {
  for (Prefix& prefix : tree.prefixes) {
    const auto own = [&](std::size_t i) { return tree.prefixes[i].own; };
    if (!std::all_of(prefix.children.begin(), prefix.children.end(), [&](auto i) { return IsNumber(own(i)); }))
      continue;
    std::stable_sort(prefix.children.begin(), prefix.children.end(), [&](std::size_t a, std::size_t b) {
      return own(a).size() != own(b).size() ? own(a).size() < own(b).size() : own(a) < own(b);
    });
  }
}

void Add(const Tree& tree, std::size_t at, const Checkpoint& checkpoint, Model& model, ModuleTree& out) {
  const Prefix& prefix = tree.prefixes[at];
  for (std::size_t i = 0; i < prefix.tensors.size(); ++i) {
    const CheckpointTensor& c = checkpoint.tensors[prefix.tensors[i]];
    const TensorId id = out.Param(prefix.leaf[i], c.shape, c.source.dtype);
    model.tensors[id].source = c.source;
  }
  for (const std::size_t child : prefix.children) {
    out.Enter(tree.prefixes[child].own, "Module");
    Add(tree, child, checkpoint, model, out);
    out.Leave();
  }
}

}  // namespace

Model ModelFromHeaders(const Checkpoint& checkpoint, std::string name, const std::string& why) {
  Tree tree;
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) tree.Insert(checkpoint.tensors[i].name, i);
  SortNumbered(tree);
  Model model;
  model.name = std::move(name);
  model.family = "weights only";
  model.class_name = "weights only: " + why;
  model.files = checkpoint.files;
  ModuleTree out(model);
  out.Enter("", model.class_name);
  Add(tree, 0, checkpoint, model, out);
  return model;
}

Model ModelFromNames(const CheckpointIndex& index, std::string name, const std::string& why) {
  Checkpoint names;
  for (const CheckpointIndex::Entry& e : index.entries) names.tensors.push_back({e.tensor, {0}, {}});
  Model model = ModelFromHeaders(names, std::move(name), why);
  for (Tensor& t : model.tensors) t.source.reset();
  model.names_only = true;
  model.stated_bytes = index.total_size;
  return model;
}

}  // namespace stowage

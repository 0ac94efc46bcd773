#include "planner/solve/accelerate/work_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace stowage::accelerate {

std::vector<NodeId> Parts(const PlacementTree& tree, NodeId module, Rules rules) {
  std::vector<NodeId> parts;
  for (const NodeId t : tree.nodes[module].tensors) {
    const Node& tensor = tree.nodes[t];
    // A transformers model is not tied yet: its parameters are all different objects.
    const bool listed = !tensor.again || rules == Rules::kTransformers;
    if (tensor.kind == NodeKind::kParameter && listed) parts.push_back(t);
  }
  parts.insert(parts.end(), tree.nodes[module].children.begin(), tree.nodes[module].children.end());
  return parts;
}

void Prepend(WorkList& list, const std::vector<NodeId>& nodes) {
  list.insert(list.end(), nodes.rbegin(), nodes.rend());
}

void Replace(WorkList& list, std::size_t index, const std::vector<NodeId>& nodes) {
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
  list.insert(list.begin() + static_cast<std::ptrdiff_t>(index), nodes.rbegin(), nodes.rend());
}

std::optional<std::size_t> IndexOf(const WorkList& list, NodeId node) {
  const auto it = std::find(list.begin(), list.end(), node);
  if (it == list.end()) return std::nullopt;
  return static_cast<std::size_t>(it - list.begin());
}

Ties::Ties(const PlacementTree& tree) : tree_(tree) {
  for (const std::vector<NodeId>& group : tree.tied_groups) {
    std::vector<std::string>& names = dotted_.emplace_back();
    for (const NodeId node : group) names.push_back(tree.nodes[node].name + ".");
  }
}

std::vector<NodeId> Ties::Outside(NodeId item) const {
  std::vector<NodeId> outside;
  if (dotted_.empty()) return outside;
  const std::string name = tree_.nodes[item].name + ".";
  for (std::size_t g = 0; g < dotted_.size(); ++g) {
    const std::size_t before = outside.size();
    for (std::size_t i = 0; i < dotted_[g].size(); ++i) {
      if (dotted_[g][i].find(name) == std::string::npos) outside.push_back(tree_.tied_groups[g][i]);
    }
    if (outside.size() - before == dotted_[g].size()) outside.resize(before);  // nothing inside
  }
  return outside;
}

Result<std::vector<NodeId>> Ties::Owners(const std::vector<NodeId>& tied, const WorkList& list) const {
  std::vector<NodeId> owners;
  for (const NodeId t : tied) {
    const auto it = std::find_if(list.rbegin(), list.rend(), [&](NodeId item) { return tree_.IsInside(t, item); });
    if (it == list.rend()) {
      return Error{ErrorCode::kInfeasible,
                   fmt::format("the tied parameter {} has no module left that it could be placed with (IndexError)",
                               tree_.nodes[t].name)};
    }
    owners.push_back(*it);
  }
  return owners;
}

Number BytesWithOwners(const ModuleSizes& sizes, NodeId item, const std::vector<NodeId>& tied,
                       const std::vector<NodeId>& owners) {
  Number bytes = sizes.bytes[item];
  for (std::size_t i = 0; i < tied.size(); ++i) bytes += sizes.bytes[owners[i]] - sizes.bytes[tied[i]];
  return bytes;
}

Result<std::optional<NodeId>> TakeOneThatFits(const PlacementTree& tree, const ModuleSizes& sizes,
                                              const NoSplit& no_split, const Ties& ties, Number limit, WorkList& list) {
  if (limit.is_float()) {
    return Error{ErrorCode::kInfeasible,
                 fmt::format("fallback allocation takes whole bytes only, not {} (AttributeError)", limit.Text())};
  }
  if (limit < Number()) return std::optional<NodeId>();
  WorkList search = list;
  std::optional<NodeId> found;
  while (!found && !search.empty()) {
    const NodeId node = search.back();
    search.pop_back();
    const std::vector<NodeId> tied = ties.Outside(node);
    STOWAGE_TRY(const std::vector<NodeId> owners, ties.Owners(tied, search));
    if (BytesWithOwners(sizes, node, tied, owners) <= limit) {
      found = node;
    } else if (!no_split.IsLayer(node)) {
      Prepend(search, Parts(tree, node, Rules::kAccelerate));
    }
  }
  if (!found) return found;
  for (;;) {
    const auto around = std::find_if(list.rbegin(), list.rend(), [&](NodeId n) { return tree.IsInside(*found, n); });
    if (around == list.rend()) break;
    Replace(list, static_cast<std::size_t>(list.rend() - around) - 1, Parts(tree, *around, Rules::kAccelerate));
  }
  std::erase(list, *found);
  return found;
}

}  // namespace stowage::accelerate

// The list of modules and tensors that a sweep still has to place, and questions about ties that it is asked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/solve/accelerate/placement_tree.h"

namespace stowage::accelerate {

// The list back to front: its head is the last element. No item lies inside another.
using WorkList = std::vector<NodeId>;

// What a module is replaced by: its own parameters, then its child modules. Its own buffers are lost (accelerate#4014).
std::vector<NodeId> Parts(const PlacementTree& tree, NodeId module, Rules rules);

// Puts `nodes` before the head, the first one in front.
void Prepend(WorkList& list, const std::vector<NodeId>& nodes);
// Puts `nodes` in the place of the item at `index`.
void Replace(WorkList& list, std::size_t index, const std::vector<NodeId>& nodes);
std::optional<std::size_t> IndexOf(const WorkList& list, NodeId node);

class Ties {
 public:
  explicit Ties(const PlacementTree& tree);

  // Parameters outside `item` that are tied to one inside. "Inside" is a substring of names, as in accelerate: "0" has
  // "10.weight" inside.
  std::vector<NodeId> Outside(NodeId item) const;

  // For each of `tied` the first item of the list that is a module around it. kInfeasible (IndexError) without one.
  Result<std::vector<NodeId>> Owners(const std::vector<NodeId>& tied, const WorkList& list) const;

 private:
  const PlacementTree& tree_;
  std::vector<std::vector<std::string>> dotted_;  // by group and member: its name and a dot
};

// Bytes of `item` and of the owners that have to go with it.
Number BytesWithOwners(const ModuleSizes& sizes, NodeId item, const std::vector<NodeId>& tied,
                       const std::vector<NodeId>& owners);

// fallback_allocate: the first module or tensor in the list or below that takes at most `limit` bytes with what is tied
// to it. It is returned, and `list` is what is left: the modules around it are replaced by their parts. Absent: there is
// none, `list` is as it was. kInfeasible: IndexError or, for a fractional limit, AttributeError.
Result<std::optional<NodeId>> TakeOneThatFits(const PlacementTree& tree, const ModuleSizes& sizes,
                                              const NoSplit& no_split, const Ties& ties, Number limit, WorkList& list);

}  // namespace stowage::accelerate

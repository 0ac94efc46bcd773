#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "planner/realize/torch_hooks.h"

namespace stowage {
namespace {

// diffusers' _GO_LC_SUPPORTED_PYTORCH_LAYERS, subclasses included. Rotary "embeddings" are plain modules with buffers.
bool IsLeaf(const Model& model, ModuleId id) {
  static constexpr std::array kNames = {"Conv1d",          "Conv2d",          "Conv3d", "ConvTranspose1d",
                                        "ConvTranspose2d", "ConvTranspose3d", "Linear", "Llama4Router"};
  const Module& module = model.modules[id];
  const std::string& name = module.class_name;
  if (std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.ends_with("Linear")) return true;
  const bool holds_weight = !module.tensors.empty() && !model.tensors[module.tensors[0]].buffer;
  return name.ends_with("Embedding") && holds_weight;
}

class GroupBuilder {
 public:
  GroupBuilder(const Model& model, const GroupOffload& options) : model_(model) {
    out_.options = options;
    if (options.stream) out_.options.blocks = 1;
    out_.of_module.assign(model.modules.size(), -1);
  }

  Result<OffloadGroups> Build() {
    const GroupOffload& o = out_.options;
    if (o.record_stream && !o.stream) return Error{ErrorCode::kInvalidInput, "record_stream needs a stream"};
    if (o.blocks < 1) return Error{ErrorCode::kInvalidInput, fmt::format("a group of {} blocks", o.blocks)};
    o.leaf ? CutLeaves() : CutBlocks();
    return std::move(out_);
  }

 private:
  TensorId Owner(TensorId id) const { return model_.tensors[id].tied_to == kNoId ? id : model_.tensors[id].tied_to; }

  // parameters() then buffers() of a subtree, each storage once.
  void Append(ModuleId root, std::vector<TensorId>& list) const {
    for (const bool buffers : {false, true}) Walk(root, buffers, list);
  }

  void Walk(ModuleId module, bool buffers, std::vector<TensorId>& list) const {
    for (const TensorId id : model_.modules[module].tensors) {
      if (model_.tensors[id].buffer == buffers) AppendOnce(Owner(id), list);
    }
    for (const ModuleId child : model_.modules[module].children) Walk(child, buffers, list);
  }

  static void AppendOnce(TensorId id, std::vector<TensorId>& list) {
    if (std::find(list.begin(), list.end(), id) == list.end()) list.push_back(id);
  }

  std::int32_t Add(OffloadGroup group) {
    out_.groups.push_back(std::move(group));
    return static_cast<std::int32_t>(out_.groups.size()) - 1;
  }

  // A file's tensors are dropped in the order of its keys, pinned copies in that of the parameters.
  std::vector<TensorId> DownOrder(const std::vector<ModuleId>& modules, const OffloadGroup& group) const {
    if (group.streamed || out_.options.disk) return group.up;
    std::vector<TensorId> down;
    for (const ModuleId module : modules) {
      for (const TensorId id : ModuleToOrder(model_, module)) AppendOnce(id, down);
    }
    return down;
  }

  void CutLeaves() {
    for (std::size_t m = 0; m < model_.modules.size(); ++m) {
      const auto id = static_cast<ModuleId>(m);
      const bool leaf = IsLeaf(model_, id);
      if (!leaf && model_.modules[m].tensors.empty()) continue;
      OffloadGroup group{.onload_leader = id, .offload_leader = id, .streamed = out_.options.stream};
      for (const TensorId t : model_.modules[m].tensors) AppendOnce(Owner(t), group.up);
      group.down = group.up;
      if (leaf) Linger(group);  // else they are in the group's own list
      out_.of_module[m] = Add(std::move(group));
      out_.cut = true;
    }
    if (out_.options.stream && out_.of_module[0] < 0)
      out_.of_module[0] = Add({.onload_leader = 0, .offload_leader = 0});
  }

  void CutBlocks() {
    std::vector<ModuleId> rest;
    for (const ModuleId child : model_.modules[0].children) {
      const Module& module = model_.modules[child];
      if (module.class_name != "ModuleList" && module.class_name != "Sequential") {
        rest.push_back(child);
        continue;
      }
      const auto blocks = static_cast<std::size_t>(out_.options.blocks);
      for (std::size_t i = 0; i < module.children.size(); i += blocks) {
        const std::size_t end = std::min(i + blocks, module.children.size());
        AddBlocks({module.children.begin() + static_cast<std::ptrdiff_t>(i),
                   module.children.begin() + static_cast<std::ptrdiff_t>(end)});
      }
    }
    AddRest(rest);
  }

  void Linger(OffloadGroup& group) const {
    if (!group.streamed || out_.options.disk) return;
    const auto buffer = [&](TensorId id) { return model_.tensors[id].buffer; };
    std::copy_if(group.up.begin(), group.up.end(), std::back_inserter(group.lingering), buffer);
    std::erase_if(group.down, buffer);
  }

  void AddBlocks(const std::vector<ModuleId>& modules) {
    OffloadGroup group{
        .onload_leader = modules.front(), .offload_leader = modules.back(), .streamed = out_.options.stream};
    for (const ModuleId module : modules) Append(module, group.up);
    group.down = DownOrder(modules, group);
    Linger(group);
    const std::int32_t index = Add(std::move(group));
    for (const ModuleId module : modules) out_.of_module[module] = index;
    out_.cut = true;
  }

  // The leftovers: their modules, then the root's own parameters, then every buffer of theirs once more.
  void AddRest(const std::vector<ModuleId>& modules) {
    OffloadGroup group{.onload_leader = 0, .offload_leader = 0};
    for (const ModuleId module : modules) Append(module, group.up);
    group.down = DownOrder(modules, group);
    for (const TensorId id : model_.modules[0].tensors) {
      AppendOnce(Owner(id), group.up);
      AppendOnce(Owner(id), group.down);
    }
    if (!out_.options.disk) {
      std::vector<TensorId> twins;
      for (const ModuleId module : modules) Walk(module, true, twins);
      for (std::vector<TensorId>* list : {&group.up, &group.down})
        list->insert(list->end(), twins.begin(), twins.end());
    }
    if (!group.up.empty() || out_.options.stream) out_.of_module[0] = Add(std::move(group));
  }

  const Model& model_;
  OffloadGroups out_;
};

void WalkChildrenFirst(const Model& model, ModuleId module, std::vector<bool>& seen, std::vector<TensorId>& order) {
  for (const ModuleId child : model.modules[module].children) WalkChildrenFirst(model, child, seen, order);
  for (const TensorId id : model.modules[module].tensors) {
    const TensorId owner = model.tensors[id].tied_to == kNoId ? id : model.tensors[id].tied_to;
    if (seen[owner]) continue;
    seen[owner] = true;
    order.push_back(owner);
  }
}

}  // namespace

std::vector<TensorId> ModuleToOrder(const Model& model, ModuleId root) {
  std::vector<bool> seen(model.tensors.size());
  std::vector<TensorId> order;
  WalkChildrenFirst(model, root, seen, order);
  return order;
}

Result<OffloadGroups> GroupsOf(const Model& model, const GroupOffload& options) {
  return GroupBuilder(model, options).Build();
}

}  // namespace stowage

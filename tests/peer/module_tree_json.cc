#include "tests/peer/module_tree_json.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace stowage {
namespace {

using nlohmann::json;

class Reader {
 public:
  Result<Model> Read(const json& file) && {
    STOWAGE_RETURN_IF_ERROR(Module(file["root"], "", kNoId));
    if (!file.contains("tied_groups")) return std::move(model_);
    for (const json& group : file["tied_groups"]) {
      const TensorId owner = model_.FindTensor(group[0].get<std::string>());
      for (const json& name : group) {
        const TensorId tensor = model_.FindTensor(name.get<std::string>());
        if (tensor == kNoId) return Error{ErrorCode::kInvalidInput, "no tensor " + name.dump()};
        model_.tensors[tensor].tied_to = tensor == owner ? kNoId : owner;
      }
    }
    return std::move(model_);
  }

 private:
  Status Module(const json& node, const std::string& name, ModuleId parent) {
    const ModuleId id = static_cast<ModuleId>(model_.modules.size());
    model_.modules.push_back({.name = name, .class_name = node.value("class", ""), .parent = parent});
    if (parent != kNoId) model_.modules[parent].children.push_back(id);
    if (node.contains("same_module_object_as")) {
      model_.modules[id].same_as = model_.FindModule(node["same_module_object_as"].get<std::string>());
    }
    for (const auto& [key, buffer] : {std::pair("params", false), std::pair("buffers", true)}) {
      if (!node.contains(key)) continue;
      for (const json& tensor : node[key]) STOWAGE_RETURN_IF_ERROR(AddTensor(tensor, id, buffer));
    }
    if (!node.contains("children")) return OkStatus();
    for (const json& child : node["children"]) {
      const std::string local = child[0].get<std::string>();
      STOWAGE_RETURN_IF_ERROR(Module(child[1], name.empty() ? local : name + "." + local, id));
    }
    return OkStatus();
  }

  Status AddTensor(const json& json, ModuleId module, bool buffer) {
    const std::string& prefix = model_.modules[module].name;
    const std::string local = json["name"].get<std::string>();
    const std::optional<DType> dtype = ParseDType(json["dtype"].get<std::string>());
    if (!dtype) return Error{ErrorCode::kInvalidInput, "unknown dtype " + json["dtype"].dump()};
    const TensorId id = static_cast<TensorId>(model_.tensors.size());
    Tensor tensor{.name = prefix.empty() ? local : prefix + "." + local,
                  .shape = json["shape"].get<Shape>(),
                  .dtype = *dtype,
                  .module = module,
                  .buffer = buffer,
                  .persistent = json.value("persistent", true)};
    if (json.contains("id")) {
      const auto [it, first] = owner_.try_emplace(json["id"].get<std::int64_t>(), id);
      if (!first) tensor.tied_to = it->second;
    }
    model_.tensors.push_back(std::move(tensor));
    model_.modules[module].tensors.push_back(id);
    return OkStatus();
  }

  Model model_;
  std::map<std::int64_t, TensorId> owner_;
};

}  // namespace

Result<Model> ReadPeerTree(std::string_view text) {
  const json tree = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!tree.is_object() || !tree.contains("root")) return Error{ErrorCode::kInvalidInput, "not a module tree"};
  return Reader().Read(tree);
}

}  // namespace stowage

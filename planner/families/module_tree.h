// Builds Model::modules and Model::tensors in the order Python registers them: call Enter and Param in the order of
// __init__, and Leave when a module is complete. For family files only.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "planner/base/check.h"
#include "planner/model/model.h"

namespace stowage {

class ModuleTree {
 public:
  explicit ModuleTree(Model& model) : model_(model) {}

  // The first call makes the root, whose name is "".
  void Enter(std::string_view name, std::string class_name) {
    const ModuleId parent = current_;
    std::string path = parent == kNoId ? std::string() : model_.modules[parent].name;
    if (!path.empty()) path += '.';
    path += name;
    current_ = static_cast<ModuleId>(model_.modules.size());
    model_.modules.push_back({std::move(path), std::move(class_name), parent, {}, {}});
    if (parent != kNoId) model_.modules[parent].children.push_back(current_);
  }

  const std::string& path() const { return model_.modules[current_].name; }  // of the module entered last

  void Leave() { current_ = model_.modules[current_].parent; }

  TensorId Param(std::string_view name, Shape shape, DType dtype) { return Add(Make(name, std::move(shape), dtype)); }

  TensorId Buffer(std::string_view name, Shape shape, DType dtype, bool persistent) {
    Tensor t = Make(name, std::move(shape), dtype);
    t.buffer = true;
    t.persistent = persistent;
    return Add(std::move(t));
  }

  void Leaf(std::string_view name, std::string class_name) {
    Enter(name, std::move(class_name));
    Leave();
  }

  // nn.Linear: weight [out, in] and, if asked, bias [out].
  void Linear(std::string_view name, std::int64_t out, std::int64_t in, DType dtype, bool bias) {
    Enter(name, "Linear");
    Param("weight", {out, in}, dtype);
    if (bias) Param("bias", {out}, dtype);
    Leave();
  }

  // nn.Embedding and its subclasses: weight [rows, width], whose id it returns.
  TensorId Embedding(std::string_view name, std::int64_t rows, std::int64_t width, DType dtype,
                     std::string class_name = "Embedding") {
    Enter(name, std::move(class_name));
    const TensorId table = Param("weight", {rows, width}, dtype);
    Leave();
    return table;
  }

  // nn.LayerNorm: weight and bias [width]; neither when not `affine`.
  void LayerNorm(std::string_view name, std::int64_t width, DType dtype, bool affine = true) {
    Enter(name, "LayerNorm");
    if (affine) {
      Param("weight", {width}, dtype);
      Param("bias", {width}, dtype);
    }
    Leave();
  }

  // From here on `copy` shares the storage of `owner`, which was registered before it.
  void Tie(TensorId owner, TensorId copy) {
    model_.tensors[copy].tied_to = owner;
    for (auto& group : model_.tied_groups) {
      if (group[0] == owner) return group.push_back(copy);
    }
    model_.tied_groups.push_back({owner, copy});
  }

 private:
  Tensor Make(std::string_view name, Shape shape, DType dtype) const {
    const std::string& prefix = model_.modules[current_].name;
    Tensor t;
    t.name = prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
    t.shape = std::move(shape);
    t.dtype = dtype;
    t.module = current_;
    return t;
  }

  TensorId Add(Tensor tensor) {
    // The walk over the modules gives the tensors in the order of their ids only if a module's own come first.
    STOWAGE_CHECK(model_.modules[current_].children.empty());
    const TensorId id = static_cast<TensorId>(model_.tensors.size());
    model_.tensors.push_back(std::move(tensor));
    model_.modules[current_].tensors.push_back(id);
    return id;
  }

  Model& model_;
  ModuleId current_ = kNoId;
};

}  // namespace stowage

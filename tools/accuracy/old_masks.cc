#include "tools/accuracy/old_masks.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace stowage {
namespace {

bool HoldsMask(const Module& module) {
  constexpr std::array<std::string_view, 3> kClasses = {"GPT2Attention", "GPTJAttention", "GPTNeoXAttention"};
  return std::find(kClasses.begin(), kClasses.end(), module.class_name) != kClasses.end();
}

}  // namespace

Model WithStoredMasks(const Model& model, std::int64_t side) {
  Model out = model;
  out.tensors.clear();
  std::vector<TensorId> now(model.tensors.size(), kNoId);  // tensors stay in the order of a walk over the modules
  for (Module& module : out.modules) {
    const auto id = static_cast<ModuleId>(&module - out.modules.data());
    std::vector<TensorId> kept;
    for (const TensorId tensor : module.tensors) {
      now[static_cast<std::size_t>(tensor)] = static_cast<TensorId>(out.tensors.size());
      kept.push_back(now[static_cast<std::size_t>(tensor)]);
      out.tensors.push_back(model.tensors[static_cast<std::size_t>(tensor)]);
    }
    if (HoldsMask(module)) {
      Tensor mask;
      mask.name = module.name + ".bias";
      mask.shape = {1, 1, side, side};
      mask.dtype = model.ComputeDType();
      mask.module = id;
      mask.buffer = true;
      kept.push_back(static_cast<TensorId>(out.tensors.size()));
      out.tensors.push_back(std::move(mask));
    }
    module.tensors = std::move(kept);
  }
  for (Tensor& tensor : out.tensors) {
    if (tensor.tied_to != kNoId) tensor.tied_to = now[static_cast<std::size_t>(tensor.tied_to)];
  }
  for (std::vector<TensorId>& group : out.tied_groups) {
    for (TensorId& id : group) id = now[static_cast<std::size_t>(id)];
  }
  return out;
}

}  // namespace stowage

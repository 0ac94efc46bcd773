#include "planner/model/model.h"

#include <algorithm>

namespace stowage {

std::int64_t Elements(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

std::string FormatShape(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

Bytes Model::WeightBytes() const {
  Bytes total;
  for (const Tensor& t : tensors) {
    if (!t.buffer && t.tied_to == kNoId) total += t.bytes();
  }
  return total;
}

std::int64_t Model::Parameters() const {
  std::int64_t total = 0;
  for (const Tensor& t : tensors) {
    if (!t.buffer && t.tied_to == kNoId) total += t.weights_per_element * Elements(t.shape);
  }
  return total;
}

Bytes Model::CheckpointBytes() const {
  if (stated_bytes) return *stated_bytes;
  Bytes total;
  for (const Tensor& t : tensors) {
    if (t.persistent && t.tied_to == kNoId) total += t.bytes();
  }
  for (const Tensor& t : unloaded) total += t.bytes();
  return total;
}

DType Model::ComputeDType() const {
  if (compute_dtype) return *compute_dtype;
  const auto floating = [](DType d) {
    return d == DType::kF64 || d == DType::kF32 || d == DType::kF16 || d == DType::kBF16;
  };
  const auto first = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return floating(t.dtype); });
  return first == tensors.end() ? DType::kF32 : first->dtype;
}

ModuleId Model::BlockOf(ModuleId module) const {
  for (ModuleId m = module; m != kNoId; m = modules[m].parent) {
    if (std::find(no_split_classes.begin(), no_split_classes.end(), modules[m].class_name) != no_split_classes.end()) {
      return m;
    }
  }
  return kNoId;
}

TensorId Model::FindTensor(std::string_view tensor_name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == tensor_name; });
  return it == tensors.end() ? kNoId : static_cast<TensorId>(it - tensors.begin());
}

ModuleId Model::FindModule(std::string_view module_name) const {
  const auto it = std::find_if(modules.begin(), modules.end(), [&](const Module& m) { return m.name == module_name; });
  return it == modules.end() ? kNoId : static_cast<ModuleId>(it - modules.begin());
}

}  // namespace stowage

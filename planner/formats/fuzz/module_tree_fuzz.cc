// A module tree file as input. What is accepted is a well-formed Model: parents before children, tensors in the order of
// a walk, ties that lead to an owner of the same shape.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "planner/base/check.h"
#include "planner/formats/module_tree_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stowage;
  const auto model = ParseModuleTree(std::string_view(reinterpret_cast<const char*>(data), size), "input", "m");
  if (!model) return 0;
  TensorId next = 0;
  for (std::size_t m = 0; m < model->modules.size(); ++m) {
    STOWAGE_CHECK(model->modules[m].parent < static_cast<ModuleId>(m));
    for (const TensorId t : model->modules[m].tensors) STOWAGE_CHECK(t == next++);
  }
  STOWAGE_CHECK(static_cast<std::size_t>(next) == model->tensors.size());
  for (const Tensor& t : model->tensors) {
    if (t.tied_to == kNoId) continue;
    const Tensor& owner = model->tensors[t.tied_to];
    STOWAGE_CHECK(owner.tied_to == kNoId && owner.shape == t.shape && owner.dtype == t.dtype);
  }
  STOWAGE_CHECK(model->WeightBytes() >= Bytes(0) && model->Parameters() >= 0);
  return 0;
}

// The frame of the older decoder classes: a base model alone, or as "transformer" below a head.
#pragma once

#include <functional>
#include <string>

#include "planner/families/module_tree.h"
#include "planner/families/read_config.h"

namespace stowage {

// What GPT-2's and GPT-J's configs spell alike, with the defaults in which they differ.
struct GptDefaults {
  std::int64_t layers = 0, hidden = 0, heads = 0, vocab = 0, positions = 0;
};
Result<TransformerShape> ReadGptShape(const HfConfig& config, const GptDefaults& defaults);

struct Headed {
  std::string class_name;  // of the whole; `base_class`: there is no head
  std::string base_class;
  std::int64_t vocab = 0, hidden = 0;
  DType dtype = DType::kF32;
  bool head_bias = false;
  bool tied = false;
};

// Adds the root, what `add_body` adds (it returns the embedding table) and "lm_head".
void AddHeaded(ModuleTree& tree, const Headed& c, const std::function<TensorId()>& add_body);

}  // namespace stowage

// What the readers of several families share: limits, spellings and names of classes. For family files only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "planner/base/result.h"
#include "planner/formats/hf_config.h"
#include "planner/model/dtype.h"

namespace stowage {

// Far above every published model; they keep all products and sums of sizes inside 64 bits.
inline constexpr Range<std::int64_t> kLayerRange = {1, 10'000};
inline constexpr Range<std::int64_t> kWidthRange = {1, 1 << 20};
inline constexpr Range<std::int64_t> kHeadRange = {1, 1 << 14};
inline constexpr Range<std::int64_t> kVocabRange = {1, 1 << 24};
inline constexpr Range<std::int64_t> kPositionRange = {1, 1 << 24};

// The value under the first of `keys` that is there, `absent` when none is. Where transformers has an attribute_map its
// generic name (num_hidden_layers) goes first: it wins over the family's own (n_layer) when a file has both.
Result<std::int64_t> ReadSize(const HfConfig& config, std::initializer_list<const char*> keys, std::int64_t absent,
                              Range<std::int64_t> range);

// dtype, or torch_dtype as it was spelled before transformers 5.
Result<DType> ReadStoredDType(const HfConfig& config, DType absent);

// The torch class of an activation (transformers' ACT2CLS): "gelu_new" -> "NewGELUActivation".
Result<std::string> ReadActivation(const HfConfig& config, const char* key, std::string absent);
std::string ActivationClass(const std::string& activation);  // "" when unknown

// architectures[0] if it is one of `known`, known[0] when the file names none.
Result<std::string> ReadClass(const HfConfig& config, std::initializer_list<const char*> known);

// kInvalidInput unless heads divide hidden.
Status CheckHeads(const HfConfig& config, std::int64_t hidden, std::int64_t heads);

}  // namespace stowage

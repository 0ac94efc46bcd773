// Makes a folder that looks like a published checkpoint of a model, smaller if asked: config.json and safetensors with
// the real names, shapes and shards, and random weights. What `fabricate` does; tests use it directly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

// What to change about the base model; absent: keep, or follow from what was given. With another hidden size, heads
// keep their width and their grouping where that is possible (else the width is halved until it is) and the MLP its
// ratio.
struct FabricateOptions {
  std::optional<std::int64_t> layers;
  std::optional<std::int64_t> hidden;
  std::optional<std::int64_t> vocab;
  std::optional<std::int64_t> heads;
  std::optional<std::int64_t> kv_heads;
  std::optional<std::int64_t> intermediate;
  std::optional<DType> dtype;
  std::optional<bool> tied;
  std::uint64_t seed = 0;
  std::int64_t max_shard_bytes = 5'000'000'000;  // Hugging Face's default
};

// The smaller model, without weights. kInvalidInput when sizes do not divide.
Result<Model> ShrinkModel(const Model& base, const FabricateOptions& options);

// "4 layers, hidden 512, 4 heads of 128 (1 for keys and values), intermediate 1792, vocabulary 2048, bf16, untied"
std::string DescribeShape(const Model& model);

// config.json in the classic spelling, which every version of transformers reads.
std::string ConfigJson(const Model& model);

// Element `index` of the tensor called `name`: about normal, 0.02 wide, for matrices (transformers' initializer_range),
// 1 for norms, 0 for biases. A pure function, so any part of a checkpoint can be checked without the rest.
float RandomWeight(std::uint64_t seed, const std::string& name, std::int64_t index);

// Writes config.json and the weights into `folder`, created if needed; refuses a folder that already holds a
// config.json. Returns the names of the files.
Result<std::vector<std::string>> WriteModelFolder(const Model& model, const std::string& folder,
                                                  const FabricateOptions& options);

}  // namespace stowage

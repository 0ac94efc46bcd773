// model.safetensors.index.json: which shard holds which tensor.
//
//   {"metadata": {"total_size": 16060522496}, "weight_map": {"lm_head.weight": "model-00004-of-00004.safetensors",
//   ...}}
//
// metadata.total_size is for display, and for shards that are not read: published files have it as 0, as a float, or not
// at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/base/units.h"

namespace stowage {

struct CheckpointIndex {
  struct Entry {
    std::string tensor;
    std::int32_t file = 0;  // index into files
  };
  std::vector<std::string> files;   // names inside the folder of the index, sorted
  std::vector<Entry> entries;       // in the order of the file
  std::optional<Bytes> total_size;  // when it is a positive number
};

// Refuses (kInvalidInput) two entries of one name and shard names that could leave the folder.
Result<CheckpointIndex> ParseCheckpointIndex(std::string_view json, const std::string& where);
Result<CheckpointIndex> ReadCheckpointIndex(const std::string& path);

}  // namespace stowage

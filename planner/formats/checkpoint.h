// A checkpoint on disk, single file or shards with an index, as one list of tensors. Headers only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

struct CheckpointTensor {
  std::string name;
  Shape shape;
  FileSlice source;  // file: index into Checkpoint::files
  Bytes bytes() const { return SizeOf(source.dtype, Elements(shape)); }
};

struct Checkpoint {
  std::vector<std::string> files;         // paths: the folder as given, then the name
  std::vector<CheckpointTensor> tensors;  // file by file, each by offset
};

// model.safetensors or else model.safetensors.index.json in `folder` (transformers' order; diffusion_pytorch_model.* of
// diffusers after them); nothing when there is neither.
std::optional<std::string> FindCheckpoint(const std::string& folder);

// pytorch_model.bin.index.json (diffusion_pytorch_model.* after it), the index of shards that are not read: pickled code.
std::optional<std::string> FindPickleIndex(const std::string& folder);

// `path`: a .safetensors file, or an index, whose shards lie beside it. Tensors of a shard that the index does not list
// are left out, as an index may select. Refuses missing shards and tensors that are not in the shard the index names.
Result<Checkpoint> ReadCheckpoint(const std::string& path);

}  // namespace stowage

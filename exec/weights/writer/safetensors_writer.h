// Writes safetensors files, single or sharded, as Hugging Face's libraries do: same header, same order of the data,
// same shard rule, so that a written folder loads wherever a published one does.
//
// Data comes from a callback in pieces of at most 4 MiB: a checkpoint of any size is written in constant memory. Files
// appear under their names only when complete: everything is written to "NAME.partial" and renamed at the end, shards
// before the index; an error leaves no partial file behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"

namespace stowage {

struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  // Fills bytes [offset, offset + to.size()) of the tensor; offset and size are multiples of the element's size.
  std::function<void(std::int64_t offset, std::span<std::byte> to)> fill;

  std::int64_t bytes() const { return SizeOf(dtype, Elements(shape)).value(); }
};

using SafetensorsMetadata = std::vector<std::pair<std::string, std::string>>;  // "__metadata__"

// One file. Data are ordered by falling dtype width, then by name, whatever the order of `tensors`.
Status WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                        const SafetensorsMetadata& metadata);

// huggingface_hub's rule: walking in the given order, a tensor that would take the shard beyond `max_shard_bytes` opens
// the next one; a tensor larger than that gets a shard of its own, placed before the one being filled. Each shard lists
// indices into `sizes`.
std::vector<std::vector<std::size_t>> SplitIntoShards(const std::vector<std::int64_t>& sizes,
                                                      std::int64_t max_shard_bytes);

// model.safetensors, or model-00001-of-0000N.safetensors with model.safetensors.index.json, in `folder`, which must
// exist. `tensors` in state-dict order. Returns the names of the files, the index last.
Result<std::vector<std::string>> WriteCheckpoint(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                                                 std::int64_t max_shard_bytes);

// A whole text file, by the same rename.
Status WriteTextFile(const std::string& path, std::string_view text);

}  // namespace stowage

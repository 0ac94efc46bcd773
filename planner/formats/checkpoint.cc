#include "planner/formats/checkpoint.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>
#include <utility>

#include "planner/base/text.h"
#include "planner/formats/checkpoint_index.h"
#include "planner/formats/file.h"
#include "planner/formats/safetensors.h"

namespace stowage {
namespace {

CheckpointTensor Place(StoredTensor&& t, std::size_t file) {
  return {std::move(t.name), std::move(t.shape), {static_cast<std::int32_t>(file), t.offset, t.dtype}};
}

Status CheckShardsExist(const std::vector<std::string>& paths, const std::string& where) {
  std::vector<std::string> missing;
  for (const std::string& path : paths) {
    if (!IsFile(path)) missing.push_back(BaseName(path));
  }
  if (missing.empty()) return OkStatus();
  const std::size_t count = missing.size();
  if (count > 3) missing.resize(3);
  return Error{ErrorCode::kIo, fmt::format("{}: {} of {} shards are missing: {}{}", where, count, paths.size(),
                                           Join(missing, ", "), count > 3 ? ", ..." : "")};
}

Result<Checkpoint> ReadShards(const std::string& path) {
  STOWAGE_TRY(const CheckpointIndex index, ReadCheckpointIndex(path));
  Checkpoint out;
  for (const std::string& file : index.files) out.files.push_back(JoinPath(FolderName(path), file));
  STOWAGE_RETURN_IF_ERROR(CheckShardsExist(out.files, path));
  std::unordered_map<std::string_view, std::int32_t> wanted;  // tensor -> shard; kNoId once found
  wanted.reserve(index.entries.size());
  for (const CheckpointIndex::Entry& e : index.entries) wanted.emplace(e.tensor, e.file);
  for (std::size_t f = 0; f < out.files.size(); ++f) {
    STOWAGE_TRY(SafetensorsHeader header, ReadSafetensorsHeader(out.files[f]));
    for (StoredTensor& t : header.tensors) {
      const auto it = wanted.find(t.name);
      if (it == wanted.end() || it->second != static_cast<std::int32_t>(f)) continue;
      it->second = kNoId;
      out.tensors.push_back(Place(std::move(t), f));
    }
  }
  for (const CheckpointIndex::Entry& e : index.entries) {
    if (wanted.at(e.tensor) != kNoId) {
      return Error{ErrorCode::kInvalidInput, fmt::format("{}: tensor '{}' should be in {}, which does not hold it",
                                                         path, e.tensor, index.files[e.file])};
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> FindCheckpoint(const std::string& folder) {
  for (const char* stem : {"model.safetensors", "diffusion_pytorch_model.safetensors"}) {
    std::string single = JoinPath(folder, stem);
    if (IsFile(single)) return single;
    std::string index = single + ".index.json";
    if (IsFile(index)) return index;
  }
  return std::nullopt;
}

std::optional<std::string> FindPickleIndex(const std::string& folder) {
  for (const char* name : {"pytorch_model.bin.index.json", "diffusion_pytorch_model.bin.index.json"}) {
    if (std::string index = JoinPath(folder, name); IsFile(index)) return index;
  }
  return std::nullopt;
}

Result<Checkpoint> ReadCheckpoint(const std::string& path) {
  if (path.ends_with(".json")) return ReadShards(path);
  STOWAGE_TRY(SafetensorsHeader header, ReadSafetensorsHeader(path));
  Checkpoint out;
  out.files = {path};
  for (StoredTensor& t : header.tensors) out.tensors.push_back(Place(std::move(t), 0));
  return out;
}

}  // namespace stowage

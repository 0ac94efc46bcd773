#include "exec/weights/writer/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::int64_t kPieceBytes = 4 << 20;
constexpr std::size_t kHeaderAlignment = 8;

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(byte));
    } else {
      out += c;
    }
  }
  return out + '"';
}

// A file under its temporary name. Close() makes it final; without it the destructor removes it.
class PartialFile {
 public:
  explicit PartialFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {}
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (file_ != nullptr) std::fclose(file_);
    if (!partial_.empty() && opened_) std::remove(partial_.c_str());
  }

  Status Open() {
    file_ = std::fopen(partial_.c_str(), "wb");
    opened_ = file_ != nullptr;
    return opened_ ? OkStatus() : Failed("cannot create");
  }
  Status Write(const void* data, std::size_t bytes) {
    return std::fwrite(data, 1, bytes, file_) == bytes ? OkStatus() : Failed("cannot write");
  }
  Status Close() {
    const bool flushed = std::fclose(std::exchange(file_, nullptr)) == 0;
    return flushed ? OkStatus() : Failed("cannot write");
  }
  Status Rename() {
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) return Failed("cannot rename to its name");
    partial_.clear();
    return OkStatus();
  }

 private:
  Status Failed(const char* what) const {
    return Error{ErrorCode::kIo, fmt::format("{}: {}: {}", partial_, what, std::strerror(errno))};
  }

  std::string path_;
  std::string partial_;
  std::FILE* file_ = nullptr;
  bool opened_ = false;
};

// safetensors' serializer sorts by its dtype enumeration, falling, then by name; these are its dtypes that we have.
int SortKey(DType dtype) {
  static constexpr std::array kOrder = {DType::kBool,   DType::kU8,  DType::kI8,  DType::kF8E5M2,
                                        DType::kF8E4M3, DType::kI16, DType::kF16, DType::kBF16,
                                        DType::kI32,    DType::kF32, DType::kF64, DType::kI64};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), dtype) - kOrder.begin());
}

std::string Header(const std::vector<const TensorToWrite*>& tensors, const SafetensorsMetadata& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      json += (i > 0 ? "," : "") + JsonString(metadata[i].first) + ":" + JsonString(metadata[i].second);
    }
    json += "}";
  }
  std::int64_t offset = 0;
  for (const TensorToWrite* t : tensors) {
    json += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", json.size() > 1 ? "," : "",
                        JsonString(t->name), SafetensorsName(t->dtype), fmt::join(t->shape, ","), offset,
                        offset + t->bytes());
    offset += t->bytes();
  }
  json += "}";
  json.resize((json.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(json.size() >> (8 * i));
  return out + json;
}

// Everything but the rename.
Status WriteData(PartialFile& file, std::vector<const TensorToWrite*> tensors, const SafetensorsMetadata& metadata) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    return a->dtype != b->dtype ? SortKey(a->dtype) > SortKey(b->dtype) : a->name < b->name;
  });
  STOWAGE_RETURN_IF_ERROR(file.Open());
  const std::string header = Header(tensors, metadata);
  STOWAGE_RETURN_IF_ERROR(file.Write(header.data(), header.size()));
  std::vector<std::byte> piece;
  for (const TensorToWrite* t : tensors) {
    for (std::int64_t at = 0; at < t->bytes(); at += kPieceBytes) {
      piece.resize(static_cast<std::size_t>(std::min(kPieceBytes, t->bytes() - at)));
      t->fill(at, piece);
      STOWAGE_RETURN_IF_ERROR(file.Write(piece.data(), piece.size()));
    }
  }
  return file.Close();
}

// As json.dumps(indent=2, sort_keys=True) writes it.
std::string IndexJson(const std::map<std::string, std::string>& weight_map, std::int64_t total_bytes) {
  std::string out =
      fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total_bytes);
  const char* separator = "\n";
  for (const auto& [tensor, file] : weight_map) {
    out += fmt::format("{}    {}: {}", separator, JsonString(tensor), JsonString(file));
    separator = ",\n";
  }
  return out + "\n  }\n}\n";
}

}  // namespace

Status WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                        const SafetensorsMetadata& metadata) {
  std::vector<const TensorToWrite*> pointers;
  for (const TensorToWrite& t : tensors) pointers.push_back(&t);
  PartialFile file(path);
  STOWAGE_RETURN_IF_ERROR(WriteData(file, std::move(pointers), metadata));
  return file.Rename();
}

std::vector<std::vector<std::size_t>> SplitIntoShards(const std::vector<std::int64_t>& sizes,
                                                      std::int64_t max_shard_bytes) {
  std::vector<std::vector<std::size_t>> shards;
  std::vector<std::size_t> current;
  std::int64_t current_bytes = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > max_shard_bytes) {
      shards.push_back({i});
      continue;
    }
    if (current_bytes + sizes[i] > max_shard_bytes) {
      shards.push_back(std::exchange(current, {}));
      current_bytes = 0;
    }
    current.push_back(i);
    current_bytes += sizes[i];
  }
  if (!current.empty()) shards.push_back(std::move(current));
  return shards;
}

Result<std::vector<std::string>> WriteCheckpoint(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                                                 std::int64_t max_shard_bytes) {
  std::vector<std::int64_t> sizes;
  for (const TensorToWrite& t : tensors) sizes.push_back(t.bytes());
  const auto shards = SplitIntoShards(sizes, max_shard_bytes);
  std::vector<std::unique_ptr<PartialFile>> files;
  std::vector<std::string> names;
  std::map<std::string, std::string> weight_map;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    names.push_back(shards.size() == 1 ? "model.safetensors"
                                       : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size()));
    std::vector<const TensorToWrite*> members;
    for (const std::size_t i : shards[s]) {
      members.push_back(&tensors[i]);
      weight_map[tensors[i].name] = names.back();
    }
    files.push_back(std::make_unique<PartialFile>(folder + "/" + names.back()));
    STOWAGE_RETURN_IF_ERROR(WriteData(*files.back(), std::move(members), {{"format", "pt"}}));
  }
  for (const auto& file : files) STOWAGE_RETURN_IF_ERROR(file->Rename());
  if (shards.size() > 1) {
    const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    names.push_back("model.safetensors.index.json");
    STOWAGE_RETURN_IF_ERROR(WriteTextFile(folder + "/" + names.back(), IndexJson(weight_map, total)));
  }
  return names;
}

Status WriteTextFile(const std::string& path, std::string_view text) {
  PartialFile file(path);
  STOWAGE_RETURN_IF_ERROR(file.Open());
  STOWAGE_RETURN_IF_ERROR(file.Write(text.data(), text.size()));
  STOWAGE_RETURN_IF_ERROR(file.Close());
  return file.Rename();
}

}  // namespace stowage

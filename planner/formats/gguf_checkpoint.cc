#include "planner/formats/gguf_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/text.h"
#include "planner/formats/file.h"
#include "planner/formats/quoted.h"

namespace stowage {
namespace {

constexpr std::string_view kEnding = ".gguf";

struct PartName {
  std::string prefix;  // "DIR/llama"
  int part = 0;        // 1-based
  int parts = 0;
};

std::optional<int> FiveDigits(std::string_view text) {
  int value = 0;
  for (const char c : text) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// Of "DIR/llama-00002-of-00003.gguf"; nothing for other names.
std::optional<PartName> ParsePartName(std::string_view path) {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  if (path.size() <= kForm.size()) return std::nullopt;
  const std::string_view end = path.substr(path.size() - kForm.size());
  if (end[0] != '-' || end.substr(6, 4) != "-of-" || !end.ends_with(kEnding)) return std::nullopt;
  const std::optional<int> part = FiveDigits(end.substr(1, 5));
  const std::optional<int> parts = FiveDigits(end.substr(10, 5));
  if (!part || !parts || *part < 1 || *part > *parts) return std::nullopt;
  return PartName{std::string(path.substr(0, path.size() - kForm.size())), *part, *parts};
}

std::string PathOf(const PartName& name, int part) {
  return fmt::format("{}-{:05}-of-{:05}{}", name.prefix, part, name.parts, kEnding);
}

Status CheckPartsExist(const PartName& name) {
  std::vector<std::string> missing;
  std::size_t count = 0;
  for (int part = 1; part <= name.parts; ++part) {
    const std::string path = PathOf(name, part);
    if (IsFile(path)) continue;
    if (++count <= 3) missing.push_back(BaseName(path));
  }
  if (count == 0) return OkStatus();
  return Error{ErrorCode::kIo, fmt::format("{}: {} of {} parts are missing: {}{}", PathOf(name, name.part), count,
                                           name.parts, Join(missing, ", "), count > 3 ? ", ..." : "")};
}

// What the file says of its place among the parts must be what its name says.
Status CheckPart(const GgufMetadata& metadata, const std::string& path, int part, int parts) {
  const std::int64_t count = metadata.Integer("split.count").value_or(1);
  const std::int64_t number = metadata.Integer("split.no").value_or(0);
  if (count == parts && number == part - 1) return OkStatus();
  if (parts == 1) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{}: is part {} of {}, but not named NAME-{:05}-of-{:05}.gguf, by which the others are "
                             "found",
                             path, number + 1, count, number + 1, count)};
  }
  return Error{ErrorCode::kInvalidInput, fmt::format("{}: says it is part {} of {}, its name says {} of {}", path,
                                                     number + 1, count, part, parts)};
}

Status CheckNamesDiffer(const Checkpoint& files) {
  std::vector<const CheckpointTensor*> order;
  for (const CheckpointTensor& t : files.tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->name != b->name ? a->name < b->name : a->source.file < b->source.file;
  });
  const auto twice =
      std::adjacent_find(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->name == b->name; });
  if (twice == order.end()) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{}: tensor {} is also in {}", files.files[twice[1]->source.file], Quoted(twice[1]->name),
                           BaseName(files.files[twice[0]->source.file]))};
}

}  // namespace

Result<GgufCheckpoint> ReadGgufCheckpoint(const std::string& path) {
  GgufCheckpoint out;
  const std::optional<PartName> name = ParsePartName(path);
  const int parts = name ? name->parts : 1;
  if (name) STOWAGE_RETURN_IF_ERROR(CheckPartsExist(*name));
  for (int part = 1; part <= parts; ++part) {
    const std::string file = name ? PathOf(*name, part) : path;
    STOWAGE_TRY(GgufHeader header, ReadGgufHeader(file));
    STOWAGE_RETURN_IF_ERROR(CheckPart(header.metadata, file, part, parts));
    out.files.files.push_back(file);
    if (part == 1) out.files.tensors.reserve(header.tensors.size());
    for (StoredTensor& t : header.tensors) {
      out.files.tensors.push_back({std::move(t.name), std::move(t.shape), {part - 1, t.offset, t.dtype}});
    }
    if (part == 1) out.metadata = std::move(header.metadata);
  }
  if (parts > 1) STOWAGE_RETURN_IF_ERROR(CheckNamesDiffer(out.files));
  const std::int64_t found = static_cast<std::int64_t>(out.files.tensors.size());
  const std::int64_t claimed = out.metadata.Integer("split.tensors.count").value_or(found);
  if (claimed != found) {
    return Error{ErrorCode::kInvalidInput, fmt::format("{}: claims {} tensors in {} parts, which hold {}",
                                                       out.files.files[0], claimed, parts, found)};
  }
  out.stem = BaseName(name ? name->prefix : path);
  if (!name && out.stem.ends_with(kEnding)) out.stem.resize(out.stem.size() - kEnding.size());
  return out;
}

}  // namespace stowage

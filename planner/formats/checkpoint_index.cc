#include "planner/formats/checkpoint_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "planner/formats/file.h"
#include "planner/formats/json_scanner.h"

namespace stowage {
namespace {

constexpr std::int64_t kMaxIndexBytes = 256 << 20;  // DeepSeek-V3's has 9 MB

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// The weight_map; files get their numbers in order of appearance. `problem` says what is wrong apart from syntax.
void ParseWeightMap(JsonScanner& in, CheckpointIndex& index, std::string& problem) {
  std::map<std::string, std::int32_t, std::less<>> numbers;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    CheckpointIndex::Entry entry{std::string(key), 0};
    const std::string_view file = in.String();
    if (!in.ok()) return;
    auto it = numbers.find(file);
    if (it == numbers.end()) {
      if (!IsPlainFileName(file)) {
        problem = fmt::format("tensor '{}': '{}' is not a file name inside the folder", entry.tensor, file);
        return;
      }
      it = numbers.emplace(std::string(file), static_cast<std::int32_t>(index.files.size())).first;
      index.files.emplace_back(file);
    }
    entry.file = it->second;
    index.entries.push_back(std::move(entry));
  }
}

// total_size of the metadata, whose text is valid JSON of any kind.
std::optional<Bytes> TotalSize(std::string_view metadata) {
  constexpr double kMost = 9e18;
  JsonScanner in(metadata);
  std::optional<Bytes> out;
  in.BeginObject();
  for (std::string_view key; in.NextKey(key);) {
    const bool wanted = key == "total_size";
    const std::size_t begin = in.position();
    in.Skip();
    std::string_view value = metadata.substr(begin, in.position() - begin);
    value.remove_prefix(std::min(value.find_first_not_of(" \t\r\n"), value.size()));
    double number = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (wanted && error == std::errc() && number >= 1 && number <= kMost)
      out = Bytes(static_cast<std::int64_t>(number));
  }
  return out;
}

void SortFiles(CheckpointIndex& index) {
  std::vector<std::int32_t> order(index.files.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return index.files[a] < index.files[b]; });
  std::vector<std::int32_t> rank(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<std::int32_t>(i);
  for (CheckpointIndex::Entry& e : index.entries) e.file = rank[e.file];
  std::sort(index.files.begin(), index.files.end());
}

}  // namespace

Result<CheckpointIndex> ParseCheckpointIndex(std::string_view json, const std::string& where) {
  const auto bad = [&](std::string text) { return Error{ErrorCode::kInvalidInput, where + ": " + std::move(text)}; };
  CheckpointIndex index;
  JsonScanner in(json);
  std::string problem;
  bool has_map = false;
  in.BeginObject();
  for (std::string_view key; problem.empty() && in.NextKey(key);) {
    if (key != "weight_map") {
      const bool metadata = key == "metadata";
      const std::size_t begin = in.position();
      in.Skip();
      if (metadata && in.ok()) index.total_size = TotalSize(json.substr(begin, in.position() - begin));
      continue;
    }
    if (has_map) return bad("has two weight_map");
    has_map = true;
    ParseWeightMap(in, index, problem);
  }
  if (!problem.empty()) return bad(std::move(problem));
  in.End();
  if (!in.ok()) return bad(in.problem());
  if (!has_map) return bad("has no weight_map");
  std::unordered_set<std::string_view> names;
  names.reserve(index.entries.size());
  for (const CheckpointIndex::Entry& e : index.entries) {
    if (!names.insert(e.tensor).second) return bad(fmt::format("tensor '{}' appears twice", e.tensor));
  }
  SortFiles(index);
  return index;
}

Result<CheckpointIndex> ReadCheckpointIndex(const std::string& path) {
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kMaxIndexBytes));
  return ParseCheckpointIndex(text, path);
}

}  // namespace stowage

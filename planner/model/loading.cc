#include "planner/model/loading.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "planner/base/text.h"

namespace stowage {
namespace {

constexpr std::array<std::pair<LoadMode, std::string_view>, 6> kModes = {
    {{LoadMode::kNaive, "naive"},
     {LoadMode::kByShard4, "by-shard:4"},
     {LoadMode::kByShard5, "by-shard:5"},
     {LoadMode::kByShardAccelerate, "by-shard:accelerate"},
     {LoadMode::kByShardBin, "by-shard:bin"},
     {LoadMode::kStream, "stream"}}};

}  // namespace

std::string_view Name(LoadMode mode) {
  for (const auto& [known, name] : kModes) {
    if (known == mode) return name;
  }
  return "";
}

std::optional<LoadMode> ParseLoadMode(std::string_view text) {
  if (text == "by-shard") return LoadMode::kByShard5;
  for (const auto& [mode, name] : kModes) {
    if (name == text) return mode;
  }
  return std::nullopt;
}

std::vector<std::string> LoadModeNames() {
  std::vector<std::string> names;
  for (const auto& [mode, name] : kModes) names.emplace_back(name);
  return names;
}

std::string Describe(const Loading& loading) {
  if (loading.Default()) return "";
  std::string out = "load";
  if (loading.mode) out += fmt::format(" {}", Name(*loading.mode));
  if (loading.dtype) out += fmt::format(" in {}", Name(*loading.dtype));
  if (loading.as_stored) out += " as stored";
  return loading.warm ? out + (out == "load" ? " with a" : ",") + " warm page cache" : out;
}

Status ReadLoadMode(std::string_view text, Loading& loading) {
  loading.mode = ParseLoadMode(text);
  if (loading.mode) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("'{}' is no way to load; {} are (by-shard: by-shard:5)", text, Join(LoadModeNames(), ", "))};
}

Status ReadLoadDType(std::string_view text, Loading& loading) {
  loading.as_stored = text == "auto";
  loading.dtype = loading.as_stored ? std::nullopt : ParseDType(text);
  const bool known = loading.dtype == DType::kF32 || loading.dtype == DType::kF16 || loading.dtype == DType::kBF16;
  if (loading.as_stored || known) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("'{}' is no dtype to load in; auto, fp32, fp16 and bf16 are", text)};
}

Status ReadPageCache(std::string_view text, Loading& loading) {
  loading.warm = text == "warm";
  if (loading.warm || text == "cold") return OkStatus();
  return Error{ErrorCode::kInvalidInput, fmt::format("'{}' is no page cache; cold and warm are", text)};
}

}  // namespace stowage

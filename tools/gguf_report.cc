#include "tools/gguf_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "planner/base/text.h"

namespace stowage {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kShownItems = 8;
constexpr std::size_t kShownText = 80;  // bytes

// Quoted and escaped; bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ItemText(const GgufItem& item) {
  if (const auto* d = std::get_if<double>(&item); d != nullptr && !std::isfinite(*d)) return "null";
  return std::visit([](auto i) { return fmt::format("{}", i); }, item);
}

// At most `limit` items, as JSON.
std::string ItemsText(const GgufValue& value, std::size_t limit) {
  std::string out = "[";
  const std::size_t count = ItemsIn(value);
  for (std::size_t i = 0; i < std::min(count, limit); ++i) out += (i > 0 ? ", " : "") + ItemText(ItemOf(value, i));
  return out + (count > limit ? fmt::format(", ... {} in all]", count) : "]");
}

bool HasItems(const GgufValue& value) { return ItemsIn(value) > 0 || (value.kept && value.count == 0); }

std::string ValueText(const GgufValue& value) {
  if (value.type == GgufType::kArray) {
    return HasItems(value) ? ItemsText(value, kShownItems)
                           : fmt::format("{} of {}", FormatCount(value.count), Name(value.element));
  }
  if (value.type != GgufType::kString) return ItemText(ItemOf(value, 0));
  if (!value.kept) return "a long string";
  const std::string shown = JsonString(std::string_view(value.bytes).substr(0, kShownText));
  return value.bytes.size() > kShownText ? fmt::format("{}... {} bytes", shown, value.bytes.size()) : shown;
}

std::string ValueJson(const GgufValue& value) {
  if (value.type == GgufType::kArray && HasItems(value)) return ItemsText(value, ItemsIn(value));
  if (value.type == GgufType::kArray) {
    return fmt::format(R"({{"type": "{}", "count": {}}})", Name(value.element), value.count);
  }
  if (!value.kept) return fmt::format(R"({{"type": "{}", "count": 1}})", Name(value.type));
  return value.type == GgufType::kString ? JsonString(value.bytes) : ItemText(ItemOf(value, 0));
}

// For a terminal: no control characters out of a file.
std::string Printable(std::string_view name) {
  std::string out(name);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return out;
}

}  // namespace

std::string GgufHeaderText(const GgufHeader& header) {
  std::size_t offset_width = 6;
  std::size_t bytes_width = 5;
  std::size_t name_width = 4;
  for (const StoredTensor& t : header.tensors) {
    offset_width = std::max(offset_width, FormatCount(t.offset).size());
    bytes_width = std::max(bytes_width, FormatCount(t.bytes).size());
    name_width = std::max(name_width, std::min<std::size_t>(t.name.size(), 64));
  }
  std::string out = fmt::format("GGUF version {}, {} tensors, data from byte {}, aligned to {}\n", header.version,
                                header.tensors.size(), header.data_begin, header.alignment);
  const auto end = std::back_inserter(out);
  for (const GgufPair& p : header.metadata.pairs) {
    fmt::format_to(end, "{} = {}\n", Printable(p.key), ValueText(p.value));
  }
  fmt::format_to(end, "{:>{}}  {:>{}}  {:<7}  {:<{}}  shape\n", "offset", offset_width, "bytes", bytes_width, "dtype",
                 "name", name_width);
  for (const StoredTensor& t : header.tensors) {
    fmt::format_to(end, "{:>{}}  {:>{}}  {:<7}  {:<{}}  {}\n", FormatCount(t.offset), offset_width,
                   FormatCount(t.bytes), bytes_width, Name(t.dtype), Printable(t.name), name_width,
                   FormatShape(t.shape));
  }
  return out;
}

std::string GgufHeaderJson(const GgufHeader& header) {
  std::string out =
      fmt::format("{{\n  \"version\": {},\n  \"alignment\": {},\n  \"data_begin\": {},\n  \"metadata\": {{",
                  header.version, header.alignment, header.data_begin);
  const auto end = std::back_inserter(out);
  const char* separator = "\n";
  for (const GgufPair& p : header.metadata.pairs) {
    fmt::format_to(end, "{}    {}: {}", separator, JsonString(p.key), ValueJson(p.value));
    separator = ",\n";
  }
  out += "\n  },\n  \"tensors\": [";
  separator = "\n";
  for (const StoredTensor& t : header.tensors) {
    fmt::format_to(end, R"({}    {{"name": {}, "dtype": "{}", "shape": {}, "bytes": {}, "offset": {}}})", separator,
                   JsonString(t.name), Name(t.dtype), FormatShape(t.shape), t.bytes, t.offset);
    separator = ",\n";
  }
  return out + "\n  ]\n}\n";
}

}  // namespace stowage

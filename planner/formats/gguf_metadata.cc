#include <algorithm>
#include <cstring>
#include <limits>

#include "planner/formats/gguf.h"

namespace stowage {
namespace {

template <class T>
T NumberAt(std::string_view bytes, std::size_t index) {
  T value{};
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::optional<std::int64_t> AsInteger(const GgufItem& item) {
  if (const auto* i = std::get_if<std::int64_t>(&item)) return *i;
  if (const auto* u = std::get_if<std::uint64_t>(&item)) {
    if (*u <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return static_cast<std::int64_t>(*u);
  }
  if (const auto* b = std::get_if<bool>(&item)) return *b ? 1 : 0;
  return std::nullopt;
}

}  // namespace

std::size_t ItemsIn(const GgufValue& value) {
  const GgufType type = value.type == GgufType::kArray ? value.element : value.type;
  const bool numbers = type != GgufType::kString && type != GgufType::kArray;
  return numbers && value.kept ? static_cast<std::size_t>(value.count) : 0;
}

GgufItem ItemOf(const GgufValue& value, std::size_t index) {
  const std::string_view b = value.bytes;
  switch (value.type == GgufType::kArray ? value.element : value.type) {
    case GgufType::kU8:
      return std::uint64_t{NumberAt<std::uint8_t>(b, index)};
    case GgufType::kI8:
      return std::int64_t{NumberAt<std::int8_t>(b, index)};
    case GgufType::kU16:
      return std::uint64_t{NumberAt<std::uint16_t>(b, index)};
    case GgufType::kI16:
      return std::int64_t{NumberAt<std::int16_t>(b, index)};
    case GgufType::kU32:
      return std::uint64_t{NumberAt<std::uint32_t>(b, index)};
    case GgufType::kI32:
      return std::int64_t{NumberAt<std::int32_t>(b, index)};
    case GgufType::kF32:
      return double{NumberAt<float>(b, index)};
    case GgufType::kU64:
      return NumberAt<std::uint64_t>(b, index);
    case GgufType::kI64:
      return NumberAt<std::int64_t>(b, index);
    case GgufType::kF64:
      return NumberAt<double>(b, index);
    case GgufType::kBool:
      return NumberAt<std::uint8_t>(b, index) != 0;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return false;
}

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto it = std::find_if(pairs.begin(), pairs.end(), [&](const GgufPair& p) { return p.key == key; });
  return it == pairs.end() ? nullptr : &it->value;
}

std::optional<std::int64_t> GgufMetadata::Integer(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || value->type == GgufType::kArray || ItemsIn(*value) == 0) return std::nullopt;
  return AsInteger(ItemOf(*value, 0));
}

std::optional<double> GgufMetadata::Number(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || value->type == GgufType::kArray || ItemsIn(*value) == 0) return std::nullopt;
  return std::visit([](auto item) { return static_cast<double>(item); }, ItemOf(*value, 0));
}

std::optional<std::string_view> GgufMetadata::Text(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || value->type != GgufType::kString || !value->kept) return std::nullopt;
  return value->bytes;
}

std::vector<std::int64_t> GgufMetadata::Integers(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return {};
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < ItemsIn(*value); ++i) {
    const std::optional<std::int64_t> item = AsInteger(ItemOf(*value, i));
    if (!item) return {};
    out.push_back(*item);
  }
  return out;
}

}  // namespace stowage

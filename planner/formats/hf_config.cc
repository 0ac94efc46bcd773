#include "planner/formats/hf_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "planner/formats/file.h"

namespace stowage {
namespace {

using JsonValue = nlohmann::json;

constexpr std::int64_t kMaxConfigBytes = 16 << 20;  // the largest public config (with its tables of labels) has 1 MB

std::string Shown(const JsonValue& value) {
  std::string text = value.dump(-1, ' ', false, JsonValue::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

struct HfConfig::Json {
  JsonValue value;

  const JsonValue* Find(std::string_view key) const {
    const auto it = value.find(key);
    return it == value.end() || it->is_null() ? nullptr : &*it;
  }
};

HfConfig::HfConfig(std::shared_ptr<const Json> json, std::string where, std::string prefix)
    : json_(std::move(json)), where_(std::move(where)), prefix_(std::move(prefix)) {}

Result<HfConfig> HfConfig::Parse(std::string_view text, std::string where) {
  JsonValue value = JsonValue::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return Error{ErrorCode::kInvalidInput, where + ": is not valid JSON"};
  if (!value.is_object()) return Error{ErrorCode::kInvalidInput, where + ": is JSON but not an object"};
  return HfConfig(std::make_shared<const Json>(Json{std::move(value)}), std::move(where), "");
}

Result<HfConfig> HfConfig::Read(const std::string& path) {
  STOWAGE_TRY(const std::string text, ReadTextFile(path, kMaxConfigBytes));
  return Parse(text, path);
}

Error HfConfig::Bad(std::string_view key, std::string_view problem) const {
  return {ErrorCode::kInvalidInput, fmt::format("{}: {}{} {}", where_, prefix_, key, problem)};
}

bool HfConfig::Has(std::string_view key) const { return json_->Find(key) != nullptr; }

bool HfConfig::IsNull(std::string_view key) const {
  const auto it = json_->value.find(key);
  return it != json_->value.end() && it->is_null();
}

Result<std::int64_t> HfConfig::SizeOr(std::string_view key, std::int64_t absent) const {
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return absent;
  if (!value->is_structured()) return Bad(key, fmt::format("is {}, not an object or a list", Shown(*value)));
  return static_cast<std::int64_t>(value->size());
}

Result<std::int64_t> HfConfig::Int(std::string_view key, Range<std::int64_t> range) const {
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return Bad(key, "is missing");
  if (!value->is_number_integer()) return Bad(key, fmt::format("is {}, not an integer", Shown(*value)));
  const bool huge = value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX;
  const std::int64_t n = huge ? INT64_MAX : value->get<std::int64_t>();
  if (huge || n < range.least || n > range.most) {
    return Bad(key, fmt::format("is {}, must be in [{}, {}]", Shown(*value), range.least, range.most));
  }
  return n;
}

Result<std::int64_t> HfConfig::IntOr(std::string_view key, std::int64_t absent, Range<std::int64_t> range) const {
  if (!Has(key)) return absent;
  return Int(key, range);
}

Result<double> HfConfig::Number(std::string_view key, Range<double> range) const {
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return Bad(key, "is missing");
  if (!value->is_number()) return Bad(key, fmt::format("is {}, not a number", Shown(*value)));
  const double x = value->get<double>();
  if (!(x >= range.least && x <= range.most)) {
    return Bad(key, fmt::format("is {}, must be in [{}, {}]", Shown(*value), range.least, range.most));
  }
  return x;
}

Result<double> HfConfig::NumberOr(std::string_view key, double absent, Range<double> range) const {
  if (!Has(key)) return absent;
  return Number(key, range);
}

Result<bool> HfConfig::BoolOr(std::string_view key, bool absent) const {
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Bad(key, fmt::format("is {}, not true or false", Shown(*value)));
  return value->get<bool>();
}

Result<std::string> HfConfig::String(std::string_view key) const {
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return Bad(key, "is missing");
  if (!value->is_string()) return Bad(key, fmt::format("is {}, not a string", Shown(*value)));
  return value->get<std::string>();
}

Result<std::string> HfConfig::StringOr(std::string_view key, std::string absent) const {
  if (!Has(key)) return absent;
  return String(key);
}

Result<std::vector<std::string>> HfConfig::StringsOr(std::string_view key) const {
  std::vector<std::string> out;
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return out;
  if (!value->is_array()) return Bad(key, fmt::format("is {}, not a list of strings", Shown(*value)));
  for (const JsonValue& item : *value) {
    if (!item.is_string()) return Bad(key, fmt::format("holds {}, not a string", Shown(item)));
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<std::vector<std::int64_t>> HfConfig::IntsOr(std::string_view key) const {
  std::vector<std::int64_t> out;
  const JsonValue* value = json_->Find(key);
  if (value == nullptr) return out;
  if (!value->is_array()) return Bad(key, fmt::format("is {}, not a list of integers", Shown(*value)));
  for (const JsonValue& item : *value) {
    const bool huge = item.is_number_unsigned() && item.get<std::uint64_t>() > INT64_MAX;
    if (!item.is_number_integer() || huge) return Bad(key, fmt::format("holds {}, not an integer", Shown(item)));
    out.push_back(item.get<std::int64_t>());
  }
  return out;
}

Result<HfConfig> HfConfig::ObjectOr(std::string_view key) const {
  const JsonValue* value = json_->Find(key);
  if (value != nullptr && !value->is_object()) return Bad(key, fmt::format("is {}, not an object", Shown(*value)));
  Json inner{value == nullptr ? JsonValue::object() : *value};
  return HfConfig(std::make_shared<const Json>(std::move(inner)), where_, fmt::format("{}{}.", prefix_, key));
}

}  // namespace stowage

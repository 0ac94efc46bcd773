#include "planner/solve/accelerate/budgets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "planner/machine/size.h"

namespace stowage::accelerate {
namespace {

constexpr std::array<std::pair<std::string_view, DeviceKind>, 3> kNamed = {
    {{"mps", DeviceKind::kMps}, {"cpu", DeviceKind::kCpu}, {"disk", DeviceKind::kDisk}}};

Result<Number> ReadBudget(const nlohmann::json& value) {
  constexpr std::uint64_t kLargest = std::uint64_t{1} << 62;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() <= kLargest) {
    return Number::Int(value.get<std::int64_t>());
  }
  if (value.is_number_integer() && !value.is_number_unsigned() &&
      value.get<std::int64_t>() >= -static_cast<std::int64_t>(kLargest)) {
    return Number::Int(value.get<std::int64_t>());
  }
  if (value.is_number_float()) return Number::Float(value.get<double>());
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
      return Error{ErrorCode::kInvalidInput,
                   fmt::format("\"{}\" has no unit; write a number of bytes without quotes (ValueError)", text)};
    }
    Result<Bytes> bytes = ParseSize(text);
    if (!bytes) return std::move(bytes).error();
    return Number::Int(bytes->value());
  }
  return Error{ErrorCode::kInvalidInput,
               fmt::format("{} is neither bytes nor a size such as \"15GB\"", value.dump(-1, ' ', true))};
}

}  // namespace

std::string Name(DeviceKey device) {
  for (const auto& [name, kind] : kNamed) {
    if (kind == device.kind) return std::string(name);
  }
  return std::to_string(device.index);
}

Result<DeviceKey> ParseDeviceKey(std::string_view text) {
  for (const auto& [name, kind] : kNamed) {
    if (name == text) return DeviceKey{kind, 0};
  }
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || std::to_string(index) != text) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("device '{}' is not known: accelerators are numbers (0, 1, …), the others 'mps', 'cpu' "
                             "and 'disk' (ValueError)",
                             text)};
  }
  return DeviceKey{DeviceKind::kAccelerator, index};
}

Result<MaxMemory> ReadMaxMemory(std::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("'{}' is not a JSON object such as {{\"0\": \"15GB\", \"cpu\": \"30GB\"}}", json)};
  }
  MaxMemory budgets;
  for (const auto& [key, value] : object.items()) {
    STOWAGE_TRY(const DeviceKey device, ParseDeviceKey(key));
    Result<Number> budget = ReadBudget(value);
    if (!budget) return std::move(budget).error().In(fmt::format("device '{}'", key));
    budgets.emplace_back(device, *budget);
  }
  std::sort(budgets.begin(), budgets.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return budgets;
}

std::string WriteMaxMemory(const MaxMemory& budgets) {
  std::string text = "{";
  for (const auto& [device, value] : budgets) {
    text += fmt::format("{}\"{}\": {}", text.size() > 1 ? ", " : "", Name(device), value.Text());
  }
  return text + "}";
}

}  // namespace stowage::accelerate

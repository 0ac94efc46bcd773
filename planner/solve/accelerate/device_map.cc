#include "planner/solve/accelerate/device_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "planner/base/text.h"

namespace stowage::accelerate {
namespace {

Result<DeviceKey> ReadDevice(const nlohmann::json& value) {
  if (value.is_number_integer() && value.dump().size() < 18) {
    return DeviceKey{DeviceKind::kAccelerator, value.get<std::int64_t>()};
  }
  if (!value.is_string()) {
    return Error{ErrorCode::kInvalidInput,
                 fmt::format("{} is not a device (0, 1, …, \"cpu\", \"disk\")", value.dump(-1, ' ', true))};
  }
  const std::string text = value.get<std::string>();
  if (text == "cuda") return DeviceKey{};
  return ParseDeviceKey(text.starts_with("cuda:") ? std::string_view(text).substr(5) : std::string_view(text));
}

// Maps the keys below `module` ("" for all) to one entry if they are several on one device, then goes one level down.
void CleanBelow(DeviceMap& map, const std::string& module) {
  const std::string prefix = module.empty() ? "" : module + ".";
  const auto first = map.lower_bound(prefix);
  auto last = first;
  std::size_t keys = 0;
  bool same = true;
  for (; last != map.end() && last->first.starts_with(prefix); ++last, ++keys)
    same = same && last->second == first->second;
  if (keys > 1 && same) {
    const DeviceKey device = first->second;
    map.erase(first, last);
    map[module] = device;
    return;
  }
  std::set<std::string> children;
  for (auto it = first; it != last; ++it) {
    if (it->first.size() > module.size()) children.insert(it->first.substr(0, it->first.find('.', prefix.size())));
  }
  for (const std::string& child : children) CleanBelow(map, child);
}

std::string ShortList(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 8;
  std::string text = Join(std::span(names).first(std::min(names.size(), kMost)), ", ");
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return text;
}

std::string JsonText(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<DeviceMap> ReadDeviceMap(std::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return Error{ErrorCode::kInvalidInput, "not a JSON object from names to devices, such as {\"model\": 0}"};
  }
  DeviceMap map;
  for (const auto& [key, value] : object.items()) {
    Result<DeviceKey> device = ReadDevice(value);
    if (!device) return std::move(device).error().In(fmt::format("entry {}", JsonText(key)));
    map.emplace(key, *device);
  }
  return map;
}

std::string WriteDeviceMap(const DeviceMap& map, const PlacementTree& tree) {
  std::vector<DeviceMap::const_iterator> order;
  std::unordered_set<std::string_view> listed;
  for (const Node& node : tree.nodes) {
    const auto it = map.find(node.name);
    if (it != map.end() && listed.insert(node.name).second) order.push_back(it);
  }
  for (auto it = map.begin(); it != map.end(); ++it) {
    if (!listed.contains(it->first)) order.push_back(it);
  }
  std::string text;
  for (const auto& it : order) {
    const std::string device = Name(it->second);
    const bool number = it->second.kind == DeviceKind::kAccelerator;
    text += fmt::format("{}  {}: {}", text.empty() ? "" : ",\n", JsonText(it->first),
                        number ? device : fmt::format("\"{}\"", device));
  }
  return text.empty() ? "{}\n" : "{\n" + text + "\n}\n";
}

namespace {

// Parts of modules' names: as transformers 4 and published files have them, and as transformers 5 does.
constexpr std::array kRenamed = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"embed_out", "lm_head"},                          // GPT-NeoX
    {"encoder.layer", "layers"},                       // ViT
    {"text_model", ""},                                // CLIP
    {"language_model.model", "model.language_model"},  // Gemma 3 and what is beside it, to the end
    {"language_model.lm_head", "lm_head"},
    {"vision_tower.vision_model", "model.vision_tower"},
    {"vision_tower", "model.vision_tower"},
    {"multi_modal_projector", "model.multi_modal_projector"},
});

// `name` with whole components `from` as `to`; "" where they are not in it. An empty `from` is before the first one.
std::string Renamed(std::string_view name, std::string_view from, std::string_view to) {
  if (from.empty()) return fmt::format("{}.{}", to, name);
  const std::string framed = fmt::format(".{}.", name);
  const std::size_t at = framed.find(fmt::format(".{}.", from));
  if (at == framed.npos) return "";
  const std::string middle = to.empty() ? "." : fmt::format(".{}.", to);
  const std::string out = framed.substr(0, at) + middle + framed.substr(at + from.size() + 2);
  return out.size() > 2 ? out.substr(1, out.size() - 2) : "";
}

}  // namespace

void TakeOtherNames(const PlacementTree& tree, DeviceMap& map) {
  std::unordered_set<std::string_view> known;
  for (const Node& node : tree.nodes) known.insert(node.name);
  const auto other = [&](const std::string& key) {
    for (const auto& [old, now] : kRenamed) {
      for (const auto& [from, to] : {std::pair(old, now), std::pair(now, old)}) {
        std::string name = Renamed(key, from, to);
        if (known.contains(name) && !name.empty() && !map.contains(name)) return name;
      }
    }
    return std::string();
  };
  for (auto it = map.begin(); it != map.end();) {
    const std::string name = known.contains(it->first) ? "" : other(it->first);
    if (!name.empty()) map.emplace(name, it->second);
    it = name.empty() ? std::next(it) : map.erase(it);
  }
}

DeviceMap CleanDeviceMap(DeviceMap map) {
  CleanBelow(map, "");
  return map;
}

std::optional<DeviceKey> DeviceOf(const DeviceMap& map, std::string_view name) {
  for (;;) {
    if (const auto it = map.find(name); it != map.end()) return it->second;
    if (name.empty()) return std::nullopt;
    const std::size_t dot = name.rfind('.');
    name = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
  }
}

Status CheckDeviceMap(const PlacementTree& tree, const DeviceMap& map, std::vector<std::string>* unknown) {
  std::unordered_set<std::string_view> modules;
  for (const Node& node : tree.nodes) {
    if (node.kind == NodeKind::kModule && !node.copy) modules.insert(node.name);
  }
  for (const auto& [key, device] : map) {
    if (!key.empty() && !modules.contains(key)) unknown->push_back(key);
  }
  std::vector<std::string> uncovered;
  for (const Node& node : tree.nodes) {
    if (node.kind == NodeKind::kModule || (node.kind == NodeKind::kBuffer && !node.persistent)) continue;
    if (!DeviceOf(map, node.name)) uncovered.push_back(node.name);
  }
  if (uncovered.empty()) return OkStatus();
  return Error{ErrorCode::kInvalidInput,
               fmt::format("the device map gives no device for {} (ValueError)", ShortList(uncovered))};
}

Result<std::vector<std::string>> TiesApart(const PlacementTree& tree, const DeviceMap& map) {
  std::vector<std::string> sentences;
  for (const std::vector<NodeId>& group : tree.tied_groups) {
    std::set<DeviceKey> devices;
    std::vector<std::string> places;
    for (const NodeId node : group) {
      const std::string& name = tree.nodes[node].name;
      const std::optional<DeviceKey> device = DeviceOf(map, name);
      if (!device) {
        return Error{ErrorCode::kInvalidInput,
                     fmt::format("the device map gives no device for the tied parameter {} (ValueError)", name)};
      }
      devices.insert(*device);
      places.push_back(fmt::format("{} on {}", name, Name(*device)));
    }
    if (devices.size() > 1) sentences.push_back("tied parameters are on different devices: " + Join(places, ", "));
  }
  return sentences;
}

}  // namespace stowage::accelerate

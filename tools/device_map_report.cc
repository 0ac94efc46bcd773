#include "tools/device_map_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "planner/base/text.h"

namespace stowage {
namespace {

using accelerate::DeviceKey;
using accelerate::DeviceKind;
using accelerate::DeviceMap;
using accelerate::MaxMemory;
using accelerate::Number;
using accelerate::PlacementTree;

std::string ShownName(DeviceKey device) {
  return device.kind == DeviceKind::kAccelerator ? "gpu" + Name(device) : Name(device);
}

std::string FormatBudget(const std::optional<Number>& budget) {
  return budget ? FormatBytes(Bytes(budget->Truncated())) : "-";
}

std::optional<Number> Find(const MaxMemory& budgets, DeviceKey device) {
  for (const auto& [key, value] : budgets) {
    if (key == device) return value;
  }
  return std::nullopt;
}

DeviceMapLine& LineOf(std::vector<DeviceMapLine>& lines, DeviceKey device) {
  const auto it = std::find_if(lines.begin(), lines.end(), [&](const DeviceMapLine& l) { return l.device == device; });
  if (it != lines.end()) return *it;
  return lines.emplace_back(DeviceMapLine{.device = device});
}

// Adds every tensor to the line of its device; gives the names that have none.
std::vector<std::string> Distribute(const Model& model, const PlacementTree& tree, const DeviceMap& map,
                                    std::vector<DeviceMapLine>& lines) {
  std::vector<std::string> left_out;
  std::set<std::pair<std::int32_t, DeviceKey>> counted;
  for (const accelerate::Node& node : tree.nodes) {
    if (node.kind == accelerate::NodeKind::kModule) continue;
    const std::optional<DeviceKey> device = DeviceOf(map, node.name);
    if (!device) {
      left_out.push_back(node.name);
    } else if (counted.insert({node.storage, *device}).second) {
      DeviceMapLine& line = LineOf(lines, *device);
      (node.kind == accelerate::NodeKind::kBuffer ? line.buffers : line.weights) += model.tensors[node.storage].bytes();
    }
  }
  return left_out;
}

// accelerate runs what lies on the cpu or disk on the first accelerator that the map names.
std::string StreamNote(const std::vector<DeviceMapLine>& lines) {
  Bytes offloaded;
  std::optional<DeviceKey> main;
  for (const DeviceMapLine& line : lines) {
    const bool host = line.device.kind == DeviceKind::kCpu || line.device.kind == DeviceKind::kDisk;
    if (host) offloaded += line.weights;
    const bool used = line.weights > Bytes() || line.buffers > Bytes();
    if (!host && used && (!main || line.device < *main)) main = line.device;
  }
  if (offloaded == Bytes()) return "";
  if (!main)
    return fmt::format("{} of weights lie outside accelerators, and all of it is computed on the cpu.",
                       FormatBytes(offloaded));
  return fmt::format("{} of weights lie on cpu or disk and are copied to {} for every pass.", FormatBytes(offloaded),
                     ShownName(*main));
}

std::string FirstNames(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  const std::string text = Join(std::span(names).first(std::min(names.size(), kMost)), ", ");
  return names.size() > kMost ? fmt::format("{} and {} more", text, names.size() - kMost) : text;
}

std::string TimesSentence(const DeviceMapReport& report) {
  if (!report.first_token) return "No times: " + report.no_times + ".";
  const std::string first = fmt::format("Simulated: {} to the first token", FormatSeconds(*report.first_token));
  return report.per_token ? fmt::format("{}, then {} each.", first, FormatSeconds(*report.per_token)) : first + ".";
}

}  // namespace

bool DeviceMapReport::fits() const {
  return std::all_of(devices.begin(), devices.end(), [](const DeviceMapLine& line) { return line.fits; });
}

DeviceMapReport MakeDeviceMapReport(const Model& model, const PlacementTree& tree, const DeviceMap& map,
                                    const MaxMemory& given, const MaxMemory& balanced) {
  DeviceMapReport report{.model = model.name, .map = map};
  for (const auto& [device, budget] : given) {
    DeviceMapLine& line = LineOf(report.devices, device);
    line.budget = budget;
    const std::optional<Number> cut = Find(balanced, device);
    if (cut && *cut != budget) line.balanced = cut;
  }
  const std::vector<std::string> left_out = Distribute(model, tree, map, report.devices);
  std::stable_sort(report.devices.begin(), report.devices.end(),
                   [](const DeviceMapLine& a, const DeviceMapLine& b) { return a.device < b.device; });
  for (DeviceMapLine& line : report.devices) {
    const Bytes bytes = line.weights + line.buffers;
    line.fits = !line.budget || Number::Int(bytes.value()) <= *line.budget;
    if (!line.fits) {
      report.notes.push_back(fmt::format("{} does not fit: {} of weights and buffers, {} given.",
                                         ShownName(line.device), FormatBytes(bytes), FormatBudget(line.budget)));
    }
  }
  if (std::string note = StreamNote(report.devices); !note.empty()) report.notes.push_back(std::move(note));
  if (!left_out.empty()) {
    report.notes.push_back(
        fmt::format("The map leaves out {}: accelerate drops a split module's own buffers, and "
                    "refuses to load the model if they are in the checkpoint.",
                    FirstNames(left_out)));
  }
  return report;
}

std::string DeviceMapText(const DeviceMapReport& report, const PlacementTree& tree) {
  std::vector<std::vector<std::string>> rows = {{"device", "given", "balanced to", "weights", "buffers", "fits"}};
  for (const DeviceMapLine& line : report.devices) {
    rows.push_back({ShownName(line.device), FormatBudget(line.budget), FormatBudget(line.balanced),
                    FormatBytes(line.weights), FormatBytes(line.buffers), line.fits ? "yes" : "no"});
  }
  std::string out =
      fmt::format("{} of {} by the rules of {}\n\n{}\n", report.strategy, report.model, report.rules, AlignTable(rows));
  for (const std::string& note : report.notes) out += "- " + note + "\n";
  out += "- Counted: weights and buffers. Not counted, as in accelerate: KV cache, activations, CUDA context.\n";
  out += "- " + TimesSentence(report) + "\n";
  return out + "\n" + WriteDeviceMap(report.map, tree);
}

std::string DeviceMapJson(const DeviceMapReport& report, const PlacementTree& tree) {
  using nlohmann::ordered_json;
  const auto number = [](const std::optional<Number>& n) -> ordered_json {
    return n ? ordered_json(n->Truncated()) : ordered_json();
  };
  ordered_json devices = ordered_json::array();
  for (const DeviceMapLine& line : report.devices) {
    devices.push_back({{"name", ShownName(line.device)},
                       {"budget_bytes", number(line.budget)},
                       {"balanced_bytes", number(line.balanced)},
                       {"weights_bytes", line.weights.value()},
                       {"buffer_bytes", line.buffers.value()},
                       {"fits", line.fits}});
  }
  const auto seconds = [](const std::optional<Seconds>& s) { return s ? ordered_json(s->value()) : ordered_json(); };
  const ordered_json json = {
      {"model", report.model},
      {"strategy", report.strategy},
      {"rules", report.rules},
      {"fits", report.fits()},
      {"devices", std::move(devices)},
      {"seconds", {{"first_token", seconds(report.first_token)}, {"per_token", seconds(report.per_token)}}},
      {"no_times", report.no_times},
      {"notes", report.notes},
      {"device_map", ordered_json::parse(WriteDeviceMap(report.map, tree), nullptr, /*allow_exceptions=*/false)}};
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace stowage

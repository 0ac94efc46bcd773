// What a device map means in bytes: what lies where, what of it fits, and what accelerate would do with the rest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/model/model.h"
#include "planner/solve/accelerate/device_map.h"

namespace stowage {

struct DeviceMapLine {
  accelerate::DeviceKey device;
  std::optional<accelerate::Number> budget;    // as given; absent: none given
  std::optional<accelerate::Number> balanced;  // what the strategy made of it, if that is something else
  Bytes weights;                               // a tied weight once a device
  Bytes buffers;
  bool fits = true;  // weights and buffers are within the budget
};

struct DeviceMapReport {
  std::string model;
  std::string strategy;  // "device-map:auto"; a file's name for a map of the user's own
  std::string rules;     // "accelerate 1.15"
  std::vector<DeviceMapLine> devices;
  std::vector<std::string> notes;  // sentences
  accelerate::DeviceMap map;
  // As accelerate runs the map on the first GPU, simulated. Absent: not simulated, `no_times` says why.
  std::optional<Seconds> first_token, per_token;
  std::string no_times;

  bool fits() const;
};

// `model` in the dtype it is loaded in. Devices come in the order of the budgets, then others of the map.
DeviceMapReport MakeDeviceMapReport(const Model& model, const accelerate::PlacementTree& tree,
                                    const accelerate::DeviceMap& map, const accelerate::MaxMemory& given,
                                    const accelerate::MaxMemory& balanced);

std::string DeviceMapText(const DeviceMapReport& report, const accelerate::PlacementTree& tree);
// {"model", "strategy", "rules", "fits", "devices": [{"name", "budget_bytes", "balanced_bytes", "weights_bytes",
// "buffer_bytes", "fits"}], "seconds": {"first_token", "per_token"}, "no_times", "notes", "device_map"}
std::string DeviceMapJson(const DeviceMapReport& report, const accelerate::PlacementTree& tree);

}  // namespace stowage

// infer_auto_device_map: one sweep over the modules in registration order that fills the devices one after another and
// never returns to one. The first accelerator and the cpu keep room for the largest layer still to be placed.
//
//   const PlacementTree tree = TreeOf(model);
//   STOWAGE_TRY(const Inferred inferred, InferDeviceMap(tree, {.max_memory = budgets,
//                                                              .no_split = model.no_split_classes}));
//   WriteDeviceMap(inferred.map, tree);
//
// The rules, and what is odd about them, are those of accelerate 1.15 and transformers 5.23 (device_map.md section 1),
// checked against both by tests/peer/device_maps.py. What they leave open is fixed here: the order of tied groups.
// accelerate takes them from a Python set of names, so it changes with PYTHONHASHSEED, and seldom the map with it; here it
// is that of a module tree file's "tied_groups", else of their first names on the walk. `_no_placement_params`, which one experimental model of transformers sets, is not
// there.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/solve/accelerate/budgets.h"
#include "planner/solve/accelerate/device_map.h"
#include "planner/solve/accelerate/placement_tree.h"

namespace stowage::accelerate {

struct InferOptions {
  MaxMemory max_memory;  // may be empty: everything goes to disk
  std::vector<std::string> no_split = {};
  SizeOptions sizes = {};        // its rules are the ones used
  bool clean = true;             // join entries on one device (CleanDeviceMap)
  bool offload_buffers = false;  // only suppresses the warning: buffers are placed with their modules either way
  bool fallback = false;         // fallback_allocation; transformers has none
};

struct Inferred {
  DeviceMap map;
  // Devices that nothing could be put on, with the bytes that the item at hand needed there (accelerate logs it).
  std::vector<std::pair<DeviceKey, Number>> skipped;
  // Buffers of offloaded modules stay on an accelerator, and none has room for that many bytes (accelerate warns).
  std::optional<Number> homeless_buffers;
  std::vector<std::string> ties_apart;  // transformers warns of tied parameters on different devices
};

// kInfeasible where Python raises; the message names what and the exception:
//   IndexError      a tied parameter has no module left to be placed with
//   AttributeError  fallback with a fractional budget
//   ValueError      transformers: a tied parameter is not in the map
// and where it would not end (fallback).
Result<Inferred> InferDeviceMap(const PlacementTree& tree, const InferOptions& options);

}  // namespace stowage::accelerate

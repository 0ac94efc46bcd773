// --strategy device-map:optimal[:native]: the placement that is best for the request, with the proof.
//
//   device-map:optimal         what accelerate can execute: weights off the GPUs are streamed to gpu0
//   device-map:optimal:native  each GPU may stream its own weights, and the CPU may compute
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/solve/placement/from_model.h"
#include "tools/common/task.h"

namespace stowage {

struct OptimalQuestion {
  Model model;  // in the dtype it runs in, with the no-split classes to be used
  Machine machine;
  Request request;
  PlacementObjective objective = PlacementObjective::kLatency;
  ChainRuntime runtime = ChainRuntime::kAccelerate;
  bool any_order = false;
};

struct OptimalMap {
  ModelChain chain;
  ChainPlacement placement;
  PlacementPrice price;
  accelerate::DeviceMap map;  // joined where a whole module is on one device
  // A unit that a GPU without resident ones was given, so that accelerate uses it; empty: there was no need. The value
  // may then be a little above the bound.
  std::string kept_for_accelerate;
};

// kInfeasible when nothing fits, with the smallest larger budget that would do.
Result<OptimalMap> SolveOptimal(const OptimalQuestion& question);

std::string OptimalText(const OptimalQuestion& question, const OptimalMap& best);
// {"model", "strategy", "objective", "fits", "value", "lower_bound", "gap", "proven", "unit", "order",
//  "devices": [{"name", "budget_bytes", "used_bytes", "weights_bytes"}], "blocks": [{"name", "device", "kept"}],
//  "notes", "device_map"}; "unit" is "seconds" or "bytes".
std::string OptimalJson(const OptimalQuestion& question, const OptimalMap& best);

}  // namespace stowage

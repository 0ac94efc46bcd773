// The part of `plan` that makes or judges device maps: --strategy device-map:auto|balanced|balanced_low_0|sequential by
// the rules of accelerate or transformers, device-map:optimal by ours (plan_optimal.h), and --device-map FILE.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "tools/common/command_line.h"
#include "tools/common/task.h"

namespace stowage {

struct DeviceMapOptions {
  std::optional<std::string> file;        // --device-map
  std::optional<std::string> rules;       // --rules
  std::optional<std::string> max_memory;  // --max-memory
  std::optional<std::string> no_split;    // --no-split; "" is none, absent the model's own
  std::vector<std::string> special;       // --special-dtype
  std::optional<std::string> emit;        // --emit
  std::optional<std::string> objective;   // --objective
  bool any_order = false;                 // --any-order
  bool offload_buffers = false;
  bool fallback = false;
  bool no_clean = false;
};

void AddDeviceMapOptions(CommandLine& line, DeviceMapOptions* options);

// The command line asks for a device map. kInvalidInput for options of device maps without one, and for an unknown word
// after "device-map:".
Result<bool> WantsDeviceMap(const std::optional<std::string>& strategy, const DeviceMapOptions& options);

// What is printed, the exit code (1 when weights and buffers do not fit the budgets), and the strategy that follows the
// map, with the map as its parameter: "device-map:{\"\": 0}". Budgets are --max-memory, or
// else every --gpu, and --cpu, as they are given; for device-map:optimal a card of --max-memory alone is a generic one.
struct DeviceMapAnswer {
  std::string text;
  int exit_code = 0;
  std::string strategy = {};
};
Result<DeviceMapAnswer> PlanDeviceMap(const TaskOptions& task, const std::optional<std::string>& strategy,
                                      const DeviceMapOptions& options, bool json);

}  // namespace stowage

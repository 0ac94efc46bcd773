// Budgets of devices: what a user gives as max_memory, and what "auto", "balanced" and "balanced_low_0" make of it.
//
//   STOWAGE_TRY(MaxMemory given, ReadMaxMemory(R"({"0": "15GB", "1": 8000000000, "cpu": "30GB"})"));
//   STOWAGE_TRY(MaxMemory balanced, BalancedMaxMemory(tree, given, {.no_split = model.no_split_classes}));
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planner/base/result.h"
#include "planner/solve/accelerate/number.h"
#include "planner/solve/accelerate/placement_tree.h"

namespace stowage::accelerate {

// In the order in which accelerate fills them.
enum class DeviceKind : std::uint8_t { kAccelerator, kMps, kCpu, kDisk };

struct DeviceKey {
  DeviceKind kind = DeviceKind::kAccelerator;
  std::int64_t index = 0;  // of an accelerator; any integer is accepted, as there

  friend auto operator<=>(const DeviceKey&, const DeviceKey&) = default;
};

std::string Name(DeviceKey device);  // "0", "mps", "cpu", "disk"
// "0", "-1", "mps", "cpu", "disk". kInvalidInput for anything else, "cuda:0" included.
Result<DeviceKey> ParseDeviceKey(std::string_view text);

// Accelerators ascending, then mps, cpu, disk: every function here gives and expects this order. A device without an
// entry is not used; "disk" always is, without limit.
using MaxMemory = std::vector<std::pair<DeviceKey, Number>>;

// A JSON object: keys as above, values sizes ("15GB"), integers (bytes; negative ones pass, as in accelerate) or
// fractions. kInvalidInput, with the key, for anything else.
Result<MaxMemory> ReadMaxMemory(std::string_view json);
std::string WriteMaxMemory(const MaxMemory& budgets);  // one line of JSON: {"0": 14495514624, "cpu": 32212254720}

struct BalanceOptions {
  SizeOptions sizes;  // its rules are the ones used
  std::vector<std::string> no_split = {};
  bool low_zero = false;
  // The budgets are the free memory found, not given by the user: a single accelerator then keeps 10 % back, and by
  // transformers' rules the cpu does.
  bool found = false;
};

// get_balanced_memory: every accelerator but the last is cut to an equal share of the model and a margin. The error
// names the exception Python raises for the same input ("(KeyError)"): kInvalidInput for a disk budget, kInfeasible
// for low_zero with ids that are not 0, 1, 2, …, and for transformers' rules with no-split classes that occur nowhere.
Result<MaxMemory> BalancedMaxMemory(const PlacementTree& tree, MaxMemory budgets, const BalanceOptions& options);

}  // namespace stowage::accelerate

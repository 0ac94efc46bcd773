// A device map: names of modules or tensors, each with the device that everything below it goes to. What
// infer_auto_device_map gives, what from_pretrained(device_map=...) and dispatch_model take.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/solve/accelerate/budgets.h"
#include "planner/solve/accelerate/placement_tree.h"

namespace stowage::accelerate {

using DeviceMap = std::map<std::string, DeviceKey, std::less<>>;

// A JSON object; values are 0, "0", "cuda:0", "cuda" (0), "mps", "cpu", "disk". kInvalidInput with the key otherwise.
Result<DeviceMap> ReadDeviceMap(std::string_view json);
// JSON, one entry per line, ends with a newline: first the names of the tree in its order, then the rest.
std::string WriteDeviceMap(const DeviceMap& map, const PlacementTree& tree);

// A map of transformers 4 for a tree of 5 or of a checkpoint, or the other way: a key that the tree does not know gets
// the name that the same module has there ("embed_out" of GPT-NeoX is lm_head, "layers.0" of ViT "encoder.layer.0").
void TakeOtherNames(const PlacementTree& tree, DeviceMap& map);

// clean_device_map: joins the entries below a module that has at least two and all on one device, from the top.
DeviceMap CleanDeviceMap(DeviceMap map);

// Where a tensor or module goes: the entry of itself or of the nearest module around it that has one.
std::optional<DeviceKey> DeviceOf(const DeviceMap& map, std::string_view name);

// check_device_map: kInvalidInput naming the parameters and persistent buffers that no entry covers. `unknown` gets the
// keys that name no module; accelerate only warns of them, and of tensors' names too.
Status CheckDeviceMap(const PlacementTree& tree, const DeviceMap& map, std::vector<std::string>* unknown);

// check_tied_parameters_on_same_device: one sentence for each tied group on several devices (a warning there).
// kInvalidInput when a tied parameter has no device.
Result<std::vector<std::string>> TiesApart(const PlacementTree& tree, const DeviceMap& map);

}  // namespace stowage::accelerate

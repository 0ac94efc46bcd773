// The plan that a native proposal amounts to: its arenas, tensors and placements by name.
#pragma once

#include <string>
#include <vector>

#include "planner/plan/plan.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

// Where on a device resident rows lie.
struct DevicePlace {
  std::string pool;   // "gpu0"
  std::string arena;  // "weights"
  Bytes offset;
};
// What a device reads of a tensor in a phase: its resident rows, the others from the disk or host memory, streamed or in
// place. Empty: nothing of it.
std::vector<Residency> PartsOnDevice(const NativeModel& native, const Model& model, const NativeProposal& proposal,
                                     const NativeLayout& layout, TensorId id, const char* phase,
                                     const DevicePlace& place);
// Adds a phase's part; what is the same in both phases is said once.
void AddAlike(const Residency& part, std::vector<Residency>& parts);

Plan DescribePlan(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal,
                  const NativeLayout& layout, const Schedule& schedule);

}  // namespace stowage

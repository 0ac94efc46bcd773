// The buffers of a native schedule: one arena per purpose, and the parts that lie in it at fixed places.
#pragma once

#include <vector>

#include "planner/schedule/builder.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/ring.h"

namespace stowage {

// One proposal on its way to a schedule. Everything outlives the lowering.
struct NativeCase {
  const NativeModel& native;
  const PlanningTask& task;
  const NativeProposal& proposal;
  const NativeLayout& layout;

  const Model& model() const { return *task.model; }
};

struct NativePools {
  std::int32_t gpu = -1, host = -1, disk = -1;
};

struct NativeBuffers {
  std::vector<BufferId> arenas;                     // roots that the load phase allocates
  std::vector<BufferId> resident, master;           // by TensorId: its rows on the device, in host memory; -1: none
  std::vector<BufferId> computed;                   // by TensorId: host copies of tables that are in no file; -1
  std::vector<BufferId> keys, values;               // by layer
  std::vector<BufferId> prefill, decode;            // activations by index; -1: not on the device
  std::vector<BufferId> host_prefill, host_decode;  // likewise, in host memory
  std::vector<std::vector<BufferId>> ring;          // items: [0] of the prefill, [1 + p] of pass p of a group
  BufferId tokens = -1;
  // Pinned host memory. `input` and `output`: of a pass that is given more than token ids, that makes no tokens.
  BufferId prompt = -1, tokens_out = -1, logits_out = -1, input = -1, output = -1;
};

NativeBuffers AddBuffers(ScheduleBuilder& b, const NativeCase& c, const NativePools& pools);

// Adds the ring's arena and `buffers.ring`. `decode_items` is empty without decode passes.
void AddRing(ScheduleBuilder& b, const NativeCase& c, const NativePools& pools,
             const std::vector<StreamItem>& prefill_items, const std::vector<StreamItem>& decode_items,
             const RingOffsets& offsets, NativeBuffers& buffers);

}  // namespace stowage

// What a Hugging Face program does, as a schedule: one issuer "python", one queue a GPU ("gpu0/default"), memory from
// each one's caching allocator, sizes and order from planner/realize/torch.h. Tensors go from GPU to GPU over the link
// between them, in the queue of the one they are on, when the other has done what it had; what runs there next waits.
//
//   load      resident: each tensor read into host memory, copied (pageable, blocking), its host copy dropped
//             offloaded to the host: each tensor into host memory; attaching the hooks copies the buffers
//             model and group offload: each tensor into host memory, from where the hooks take it (torch_attach.h)
//             offloaded to the disk: nothing; each use reads the tensor (safetensors are opened again for each; that
//             alone costs no time here) and copies it
//   prefill   the pass; greedy choice; the ids come to the host
//   decode    the same per token
//   offload   model offload only: all weights go back to the host
//
// A DynamicCache replaces each layer's keys and values by longer ones in each pass, so old and new overlap in time and
// the passes alternate between two buffers: a body of two passes. Its last pass grows buffers that the next iteration
// frees; those of iteration 0 come from the prologue, where a growing buffer has its size of iteration 0: two positions
// more than they hold (of the whole decode, one pass holds that much too much; the peak is at the end and exact).
//
//   prologue  1 or 2 passes   cache of the prefill -> even
//   body      2 passes        even -> odd, odd -> even
//
// Where a sliding window fills up during the decode, other passes follow in a second phase of the same name.
//
// Without a cache (--kv none) each token is a pass of its own over the whole context. Its work grows with the square of
// the context, so no body stands for two of them: all are in the prologue, and there may be 1024 at most.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "planner/realize/torch.h"
#include "planner/realize/torch_devices.h"
#include "planner/realize/torch_hooks.h"
#include "planner/strategy/closed_form.h"
#include "planner/strategy/device_map_homes.h"
#include "planner/strategy/strategy.h"

namespace stowage {

struct TorchPlacement {
  enum class Hooks : std::uint8_t { kNone, kCpuOffload, kDispatch, kModelOffload, kGroupOffload };
  Hooks hooks = Hooks::kNone;
  std::vector<WeightHome> homes;  // by TensorId; of a tied weight, the owner's counts. Buffers are on the device ...
  GroupOffload group = {};        // ... but not with kGroupOffload and, before the first pass, kModelOffload
  TorchDevices devices = {};      // empty: all is computed on gpu0
  std::vector<bool> hooked = {};  // by ModuleId; empty: as AddDispatchHooks finds them

  std::int16_t GpuOf(TensorId id) const { return devices.tensors.empty() ? std::int16_t{0} : devices.tensors[id]; }
  static TorchPlacement Resident(const Model& model);
  static TorchPlacement SequentialOffload(const Model& model);
  // accelerate's dispatch_model; without hooks when all is on the device.
  static TorchPlacement Dispatched(DeviceMapHomes homes);
  // accelerate's cpu_offload_with_hook: on the host until the first pass and after the last.
  static TorchPlacement ModelOffload(const Model& model);
  static TorchPlacement GroupOffloaded(const Model& model, const GroupOffload& group);

  // Whether a tensor with storage of its own is on the device between passes.
  bool Stays(const Model& model, TensorId id) const;
};

// A model's passes as eager torch runs them, all weights resident; realized once per task and shared by all strategies.
struct TorchPrograms {
  std::int64_t first_pass = 0;  // PlanningTask::FirstPass() that they were realized for
  Model held;                   // AsTransformersHolds: what the programs' ids and the plan's tensors are of
  TorchProgram prefill;
  // Iteration 0: the first pass that is lowered; with --kv none the last. Empty without decode passes.
  TorchProgram decode;
  // Of the passes that are lowered, from which on `late` is run instead: where a sliding window is full. All of them or
  // more: never.
  std::int64_t turn = 0;
  TorchProgram late;  // iteration 0: pass `turn`

  const TorchProgram& last() const { return late.events.empty() ? decode : late; }
};

// kInfeasible when host memory does not hold it (torch_host.h). A program that does not fit on a GPU is one that fails at
// a step, which simulation names. kInvalidInput for what is not realized, and for weights on the disk in a file of another dtype.
Result<Lowered> LowerTorch(const PlanningTask& task, const TorchPlacement& placement, std::string_view strategy);

// The budget of gpu0 below which the program certainly runs out of memory: rounded tensors alive at once, the cuBLAS
// workspace and the machine's reservations. Fragmentation may need more.
Result<Bytes> SmallestTorchBudget(const PlanningTask& task, const TorchPlacement& placement);

// Why no torch strategy lowers this model, whatever the memory: its weights are quantized. Empty: nothing known from the
// model alone.
std::string TorchRefusal(const Model& model);

// Closed form of what is on gpu0 whatever the weights do: buffers, cache, eager temporaries, the cuBLAS workspace.
Bytes TorchFixedBytes(const PlanningTask& task, const RequestSizes& sizes);

}  // namespace stowage

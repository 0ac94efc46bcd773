// Offload hooks that move more than a leaf's weights, as events of a TorchProgram: diffusers 0.42's
// apply_group_offloading and accelerate 1.15's cpu_offload_with_hook.
//
//   group, no stream     > leader   upload the group (pageable, blocking; the host's copy dies with each upload)
//                        < leader   download it into new pageable memory: the weights travel both ways
//   group, stream        > leader   wait for the copies on stream 1; upload the next group there from pinned copies that
//                                   are kept for ever; the last group waits for its own copies instead
//                        < leader   wait for stream 0 (record_stream: do not), drop the device's copies
//                        In the first pass each group uploads itself, blocking: the order of the leaders is traced in it.
//   model offload        > root, first pass   upload everything; it stays until the caller offloads it
//
// What block_level does not cut, everything outside ModuleLists and Sequentials that are direct children of the root,
// is one group without a stream, there from the root's entry to its exit. In a causal language model the layers lie one
// level deeper: the whole model is that group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/model/model.h"
#include "planner/realize/torch.h"

namespace stowage {

struct GroupOffload {
  bool leaf = false;           // leaf_level; else block_level
  std::int64_t blocks = 1;     // num_blocks_per_group; with a stream diffusers sets it to 1
  bool stream = false;         // use_stream
  bool record_stream = false;  // with a stream
  bool low_cpu_mem = false;    // with a stream: weights stay pageable and are pinned for each upload
  bool disk = false;           // offload_to_disk_path: a file per group, read at each upload
};

struct OffloadGroup {
  ModuleId onload_leader = kNoId;
  ModuleId offload_leader = kNoId;
  bool streamed = false;
  // Owners of storages, in the order of their uploads and downloads. A buffer of the leftovers comes twice: nn.Module.to
  // replaces the module's buffer, the group's own list keeps the old one.
  std::vector<TensorId> up, down;
  // Of `up`: buffers of the modules of a group with a stream and no file. diffusers forgets to take them off the device;
  // each upload makes a new copy and drops the one before, the first one the pageable original beside the pinned copy.
  std::vector<TensorId> lingering;
};

struct OffloadGroups {
  GroupOffload options;
  std::vector<OffloadGroup> groups;
  std::vector<std::int32_t> of_module;  // by ModuleId: the group whose hook it has; -1: none
  bool cut = false;                     // some group is not the leftovers

  bool IsPinned(const OffloadGroup& group) const { return group.streamed && !options.low_cpu_mem && !options.disk; }
};

// kInvalidInput: options that diffusers refuses.
Result<OffloadGroups> GroupsOf(const Model& model, const GroupOffload& options);

// The modules with hooks in the order in which a program enters them: what diffusers traces in the first pass.
std::vector<ModuleId> TracedOrder(const TorchProgram& program, const OffloadGroups& groups);

// `traced` nullptr: the first pass; else a later one. kInvalidInput: a module that would compute with weights on the
// host, as happens to one that runs twice in a pass when a stream is used.
Result<TorchProgram> AddGroupOffloadHooks(TorchProgram program, const Model& model, const OffloadGroups& groups,
                                          const std::vector<ModuleId>* traced);

// The first pass under model offload; later ones have no events of their own.
TorchProgram AddModelOffloadHooks(TorchProgram program, const Model& model);

// nn.Module.to's order: children first, then a module's own parameters and buffers; tied ones once.
std::vector<TensorId> ModuleToOrder(const Model& model, ModuleId root);

}  // namespace stowage

// diffusers' apply_group_offloading around a whole model. Runtime: torch.
//
//   group-offload:leaf                        every Linear, convolution and Embedding by itself, and what is beside them
//   group-offload:block:2                     two blocks at a time of the root's ModuleLists; all else as one group
//   ...:stream                                pinned copies of all weights, the next group comes while this one runs
//   ...:stream:record_stream                  the host does not wait for the group that runs before it drops it
//   ...:stream:low_cpu_mem                    weights are pinned for each upload instead
//   ...:disk                                  a file per group, of an earlier run, is read at each upload
//
// Files are read at the rate of the disk, as if the page cache were too small for them.
#pragma once

#include <string_view>

#include "planner/base/result.h"
#include "planner/realize/torch_hooks.h"
#include "planner/strategy/strategy.h"

namespace stowage {

Strategy GroupOffloadStrategy();  // "group-offload"

// "leaf:stream"; kInvalidInput names the word that is not understood.
Result<GroupOffload> ParseGroupOffload(std::string_view parameters);

}  // namespace stowage

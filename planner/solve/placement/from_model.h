// From a model, a request and a machine to the chain of placement.h, and from a placement back to names.
//
// Units, in execution order: each no-split block whole; between blocks each module without child modules; modules
// without tensors, or with buffers only, go with the unit before them. Parameters directly in a module that is split
// are units of their own. Registration order is taken for execution order, but for OPT's final_layer_norm and
// project_out, which are registered before the layers.
//
// Per unit, for the whole request (one prefill, then the decode passes at their mean context):
//   seconds      sum over parameters of the roofline of 2 * elements * rows FLOPs and the parameter's bytes; an
//                embedding (a module of class *Embedding*) reads its rows alone; a block also its keys and values.
//                Attention's products and the sampling of tokens are left out
//   streaming    weights over the card's host link, from the disk before that, once a pass
//   state        its share of the caches, for all positions of the request
//   transient    rows * (4 hidden + 3 intermediate) elements for a block; a last unit of vocabulary width: its logits
//                (kAccelerate: of all positions), and the last ones once more in fp32
//   staging      its weights
// Budgets are the machine's, workspaces its reservations.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "planner/base/result.h"
#include "planner/machine/machine.h"
#include "planner/model/model.h"
#include "planner/model/request.h"
#include "planner/solve/accelerate/device_map.h"
#include "planner/solve/placement/placement.h"

namespace stowage {

// Who executes the placement.
enum class ChainRuntime : std::uint8_t {
  kAccelerate,  // weights off the GPUs are streamed to gpu0 alone, from pageable memory; nothing is computed on the CPU
  kNative,      // each GPU streams its own, from page-locked memory; the CPU may compute
};

struct ChainOptions {
  // The cache of one layer (counted in blocks) for one sequence of that many positions; empty: there is none.
  std::function<Bytes(std::int64_t layer, std::int64_t positions)> layer_cache;
  ChainRuntime runtime = ChainRuntime::kAccelerate;
  PlacementObjective objective = PlacementObjective::kLatency;
  bool any_order = false;
};

struct ModelChain {
  PlacementProblem problem;
  std::vector<std::vector<std::string>> names;  // of each unit: its modules (or tensors), as a device map names them
};

// kInvalidInput: a model whose no-split blocks are not known, more than 16 GPUs, or a machine without a resource.
Result<ModelChain> ChainOf(const Model& model, const Request& request, const Machine& machine,
                           const ChainOptions& options);

// {module: device} as accelerate takes it. What is streamed, or computed on the CPU, is on "cpu"; accelerate runs that
// on the first GPU of the map: gpu0, unless nothing is resident there.
accelerate::DeviceMap DeviceMapOf(const ModelChain& chain, const ChainPlacement& placement);

}  // namespace stowage

// A model whose blocks are resident on several GPUs, run as a chain: each GPU computes the blocks it holds, and what
// the next one needs is copied to it. The batch may be cut into micro-batches, which follow each other through the
// chain (GPipe): while gpu1 works on micro-batch 0, gpu0 works on 1.
//
//   time ->   gpu0  [0][1][2][3]         [0][1] …     decode pass p + 1 of a micro-batch starts when its token is there
//             gpu1     [0][1][2][3]         [0] …
//             gpu2        [0][1][2][3]
//
// Runs. The kernels of a pass, in order, fall into runs on one GPU each; a GPU may have several (a head tied to the
// embedding). A run waits for the copies of what it reads that another GPU wrote; these go over "link:gpu0-gpu1" in
// the queue "gpu0/out" of the GPU that wrote them. A token is copied from the GPU that chooses it to the one that embeds
// it.
//
// Memory of a GPU: weights; the caches of its layers, by micro-batch; activations. What is copied has a place for each
// micro-batch and phase; all else is packed once, since one queue runs all of it.
//
// Rings. With one micro-batch a GPU may stream weights: pieces go round the slots of its ring, each GPU's over its own
// link; a copy waits for the launch that read the slot before, in this pass or the one before. So a GPU's link goes on
// while another one computes, as long as slots are free.
//
// A micro-batch keeps its own ids in host memory ("prompt.0", "tokens_out.0", …) unless there is one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planner/strategy/native/proposal.h"
#include "planner/strategy/strategy.h"

namespace stowage {

struct ChainProposal {
  std::string strategy;           // with its parameters, as it goes into the plan
  std::vector<std::int16_t> gpu;  // by TensorId; tables that are computed go to every GPU that reads them
  std::int64_t micro_batches = 1;
  // By TensorId: the leading rows that stay on its GPU. The others are in pinned host memory: streamed through the ring of
  // that GPU when a kernel multiplies by them, gathered in place when an embedding reads them or few experts are
  // touched. Empty: all rows stay.
  std::vector<std::int64_t> resident_rows = {};
  Bytes tile = {};  // the largest piece that passes through a ring at once, but at least one that is not cut
  std::vector<std::int32_t> slots = {};  // by GPU: pieces that its ring holds; at least 2 where something is streamed
  std::vector<std::string> refused = {};
};

// kInvalidInput: micro-batches that do not divide the batch or that would stream, a model that makes no tokens, all
// logits asked for.
// kInfeasible: a GPU or the host cannot hold its part; the message names the need and the budget.
Result<Lowered> LowerChain(const PlanningTask& task, const ChainProposal& proposal);

// LowerChain's errors, without lowering.
Status CheckChain(const PlanningTask& task, const ChainProposal& proposal);

// By GPU: what the budget leaves beside reservations, resident weights, caches, activations and tokens, rings left out;
// below zero when those do not fit. `native`: of the task, so of one micro-batch.
std::vector<Bytes> LeftByGpu(const NativeModel& native, const PlanningTask& task, const ChainProposal& proposal);

// Sets the slots: as many of a GPU's largest piece as `ring` bytes hold there, two at the least, no more than the pieces
// of a pass; none where nothing is streamed.
void GiveSlots(const NativeModel& native, const PlanningTask& task, const std::vector<Bytes>& ring,
               ChainProposal& proposal);

}  // namespace stowage

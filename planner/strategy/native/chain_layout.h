// Which GPU runs which kernels of a chain, what is copied between them, and where everything lies. Internal to
// planner/strategy/native.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "planner/base/units.h"
#include "planner/strategy/native/chain.h"
#include "planner/strategy/native/layout.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

inline constexpr Bytes kNowhere{-1};

// A value that a run reads and another GPU wrote.
struct ChainTransfer {
  std::int32_t activation = 0;
  std::int16_t from = 0;
  std::int32_t writer = 0;  // kernel
};

struct ChainRun {
  std::int16_t gpu = 0;
  std::int32_t begin = 0, end = 0;  // kernels
  std::vector<ChainTransfer> arrives;
};

// One program of a micro-batch.
struct ChainPass {
  std::vector<ChainRun> runs;
  std::vector<std::vector<Bytes>> packed;   // [gpu][activation]: offset among the packed ones; kNowhere: not there
  std::vector<std::vector<Bytes>> crosses;  // [gpu][activation]: offset in a micro-batch's set of what is copied
  std::vector<std::map<std::int32_t, std::pair<std::int32_t, std::int32_t>>> lives;  // [gpu]: first and last kernel of
                                                                                     // each activation used there
  std::vector<Bytes> packed_bytes, crosses_bytes;                                    // by GPU
  std::vector<Bytes> packed_bound;                                                   // no packing is smaller
  PassUnits units;
  std::vector<std::int32_t> first_unit;  // by kernel, and the end
  std::vector<std::int32_t> item_slot;   // by StreamItem: of its GPU's ring
};

struct ChainLayout {
  std::int64_t gpus = 0;                 // of the machine
  std::vector<Bytes> rings, slot_bytes;  // by GPU: a ring is the proposal's slots, each as large as the largest piece
  ChainPass prefill, decode;
  std::vector<std::vector<Bytes>> weight_at;            // [gpu][tensor]: of its resident rows; kNowhere: not used there
  std::vector<std::int16_t> layer_gpu;                  // whose memory has the layer's cache
  std::vector<Bytes> keys_at, values_at;                // by layer, in a micro-batch's caches on its GPU
  std::vector<Bytes> weights, kv, activations, tokens;  // by GPU: arenas, of all micro-batches
  std::vector<Bytes> kv_each;                           // by GPU: of one micro-batch
  Bytes tokens_each;
  std::int16_t ids_gpu = 0, choice_gpu = 0;  // that embeds tokens, and that chooses them
  Bytes host_buffers;

  // Offset in the activations arena of `gpu` for micro-batch m; kNowhere: it is not there.
  Bytes ActivationAt(bool decode, std::int16_t gpu, std::int32_t activation, std::int64_t m,
                     std::int64_t micro_batches) const;
};

// `native`: of a micro-batch; `rows`: the proposal's, for what lays out a tensor's rows.
ChainLayout LayOutChain(const NativeModel& native, const PlanningTask& task, const ChainProposal& proposal,
                        const NativeProposal& rows);

}  // namespace stowage

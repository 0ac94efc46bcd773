// The pools, lanes and buffers of a chain's schedule: on each GPU one arena per purpose and the parts in it.
#pragma once

#include <utility>
#include <vector>

#include "planner/schedule/builder.h"
#include "planner/strategy/native/chain_describe.h"

namespace stowage {

struct ChainGpu {
  std::int32_t pool = -1;
  Lane compute, in, out;
  std::vector<Lane> peer;                              // by GPU, in the queue gpu0/out
  std::vector<BufferId> weights;                       // by TensorId: its resident rows; -1: none
  std::vector<BufferId> tokens;                        // by micro-batch
  std::vector<std::vector<BufferId>> prefill, decode;  // [micro-batch][activation]
};

struct ChainBuffers {
  std::vector<ChainGpu> gpus;
  std::int32_t host = -1, disk = -1;  // pools
  Lane read, convert;
  std::vector<BufferId> arenas;                         // roots that the load phase allocates
  std::vector<BufferId> device;                         // by TensorId: where a file's tensor goes; -1: nowhere
  std::vector<BufferId> master;                         // by TensorId: its rows in pinned host memory; -1: none
  std::vector<std::pair<TensorId, BufferId>> computed;  // host copies of tables that are in no file
  std::vector<std::vector<BufferId>> keys, values;      // [micro-batch][layer]
  std::vector<BufferId> prompts, answers;               // by micro-batch
  std::vector<BufferId> inputs;                         // by micro-batch; empty for models of token ids alone
  std::vector<BufferId> prefill_pieces, decode_pieces;  // by StreamItem: in the ring of its GPU
};

ChainBuffers AddChainBuffers(ScheduleBuilder& b, const ChainCase& c);

}  // namespace stowage

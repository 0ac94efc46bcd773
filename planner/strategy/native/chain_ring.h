// The rings of a chain's GPUs: copies from pinned host memory into slots, one after the other.
//
//   slots of gpu0   0       1       0       1     |  0       1  …      a pass starts at slot 0
//   copies          q_proj  k_proj  v_proj  o_proj|  q_proj
//   wait for        -       -       q's     k's launch, …  the last launch of the pass before that read slot 0
#pragma once

#include <vector>

#include "planner/strategy/native/chain_buffers.h"

namespace stowage {

class ChainRings {
 public:
  // All of it outlives this.
  ChainRings(ScheduleBuilder* b, const ChainCase* c, const ChainBuffers* buffers);

  // Emits the copy of an item of the prefill, or of a decode pass; the launch that reads it waits for that.
  StepId Bring(bool decode, std::int32_t item);
  void WasRead(bool decode, std::int32_t item, StepId launch);

  // Around the body of the decode phase: what its first copies wait for differs from iteration to iteration.
  void BeginBody();
  void EndBody();

 private:
  struct Slot {
    StepId read = -1;   // the last launch that reads it
    StepId first = -1;  // the first copy into it in the body
  };
  Slot& SlotOf(bool decode, std::int32_t item);
  const ChainPass& PassOf(bool decode) const { return decode ? c_.layout.decode : c_.layout.prefill; }

  ScheduleBuilder& b_;
  const ChainCase& c_;
  const ChainBuffers& buffers_;
  std::vector<std::vector<Slot>> slots_;  // by GPU
};

}  // namespace stowage

// Folds a run of decode passes into prologue, body × n, epilogue: the ring's order repeats after `period` passes, so
// one group of passes is written once. The steps of two consecutive groups are kept: the first iteration's references
// (to the prologue or the prefill) and the steady ones (to the iteration before) differ.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/native/ring.h"

namespace stowage {

struct PassLoop {
  struct Range {
    std::int32_t begin = 0, end = 0;  // into steps
    std::int32_t first_pass = 0;      // RingStep::pass of its first pass
    std::int32_t passes = 0;
  };
  std::vector<RingStep> steps;  // prefill, prologue, body, body again (the steady iteration), epilogue
  Range prefill, prologue, body, epilogue;
  std::int32_t period = 1;
  std::int32_t prologue_passes = 0;
  std::int32_t epilogue_passes = 0;
  std::int64_t iterations = 0;  // of the body; 0: there is none and the epilogue holds all decode passes
};

Result<PassLoop> FindLoop(const PassUnits& prefill, const PassUnits& decode, const RingOffsets& offsets, Bytes ring,
                          std::int64_t passes);

}  // namespace stowage

// The order of copies and launches when matrices pass through a byte ring, and where in the ring each lies.
//
// Items pass in the order of use, over and over: those of the prefill, of the first decode pass, of the second, … A
// copy may be issued as soon as every launch that still needs the bytes it overwrites has been issued; it then waits
// for them by an event. So copies run ahead of the launches as far as the ring allows (at most one pass), across tokens
// too.
//
// Offsets. Decode passes form groups of `period` passes. Each group starts at offset 0 and goes on around the ring, so
// a group's offsets are the same in every group and the loop's body is one group. The period is chosen so that little
// of the ring is skipped by starting over:
//
//   3 blocks, 2 slots, period 2     pass 0: [0] [1] [0]   pass 1: [1] [0] [1]   pass 2: [0] …
#pragma once

#include <cstdint>
#include <vector>

#include "planner/base/result.h"
#include "planner/strategy/native/layout.h"

namespace stowage {

struct RingOffsets {
  std::int32_t period = 1;                 // passes per group
  std::vector<Bytes> prefill;              // by item
  std::vector<std::vector<Bytes>> decode;  // [pass of the group][item]
};

// Every item at most ring bytes. A decode pass may stream fewer items than the prefill, even none.
RingOffsets PlaceInRing(const std::vector<StreamItem>& prefill, const std::vector<StreamItem>& decode, Bytes ring);

// One step to emit. Passes count from 0 = prefill; 1 + p is decode pass p.
struct RingStep {
  bool copy = false;                // else a launch
  std::int32_t pass = 0;            // of the item or unit
  std::int32_t index = 0;           // of the item, or of the unit
  std::vector<std::int32_t> after;  // indices into the list: a copy's last readers overwritten, a launch's copy
};

// The whole run, pass by pass: `passes` decode passes after the prefill. begin[p] is where pass p's steps start: copies
// issued while pass p runs belong to p's range even when they are for pass p + 1. kInvalidInput when the ring cannot
// hold an item.
struct RingOrder {
  std::vector<RingStep> steps;
  std::vector<std::int32_t> begin;  // passes + 2 entries; the last is the end
};
Result<RingOrder> OrderRing(const PassUnits& prefill, const PassUnits& decode, const RingOffsets& offsets, Bytes ring,
                            std::int32_t passes);

}  // namespace stowage

// How much a proposal takes and how fast it is, by a recurrence over the kernels of a pass: no step is written, nothing
// is simulated. For `plan --quick`.
//
// Peaks are what the schedule allocates, to the byte. Times come from one clock each for who issues, the chain, the link
// and the disk:
//
//   launch   starts when it is issued, the one before it has ended and its piece has arrived
//   piece    is copied when the link has brought the one before, the ring has room (launches of earlier pieces have
//            ended) and, from the disk, it has been read into host memory, which also has so many slots
//   turns    between device and host, or GPU and GPU: copies of what crosses are part of the chain
//
// What the simulation knows beyond it: where in a ring a piece must lie, and queues that wait for each other. Simulated
// over this, of all candidates (sim/rank/closed_form_test.cc): of public models 0.94 to 1.11 for the first token, 0.99 to
// 1.18 for each later one; of random tiny ones, which are all launches, 0.56 to 1.15 and 0.92 to 1.31.
#pragma once

#include "planner/strategy/closed_form.h"
#include "planner/strategy/native/chain.h"
#include "planner/strategy/native/proposal.h"

namespace stowage {

// per_token: of the last decode passes. One that does not fit has its peaks, and says why not as LowerNative does.
// Other errors are LowerNative's.
Result<ClosedForm> FormOf(const NativeModel& native, const PlanningTask& task, const NativeProposal& proposal);

// The same of a chain.
Result<ClosedForm> FormOfChain(const PlanningTask& task, const ChainProposal& proposal);

}  // namespace stowage

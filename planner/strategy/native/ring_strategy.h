// ring[:SIZE[:tensors|rows]]: as many weights as fit stay on the device, the others pass through a byte ring of SIZE
// from pinned host memory, ahead of their use and across tokens, and are never written back. Native runtime.
//   tensors   whole matrices are streamed, evenly spread over the pass (the default)
//   rows      every matrix streams the same share of its rows
// Without SIZE the candidates are simulated and the best is taken by the caller; lower() alone takes the first.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy RingStrategy();

}  // namespace stowage

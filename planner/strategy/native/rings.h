// rings[:SIZE]: whole blocks dealt to several GPUs, each keeping what it can and streaming the rest through a ring of its
// own. With blocks dealt in turn all links are busy all the time, though the GPUs compute one after the other:
//
//   block     0     1     2     3     4     5  …     gpu0 has twice the link and more memory than gpu1
//   computed  gpu0  gpu1  gpu0  gpu0  gpu1  gpu0
//
// A GPU g with room r_g for blocks and a link of b_g bytes a second gets blocks of r_g + b_g T bytes, where T is the time
// of a pass in which every link brings what its GPU lacks: sum over g of (r_g + b_g T) = all weights and caches.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

// SIZE: of each ring. kInfeasible where everything fits (see pipeline) or the host cannot hold the rest.
Strategy RingsStrategy();

}  // namespace stowage

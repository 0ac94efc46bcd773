// The slopes of attention with linear biases, as BLOOM and Falcon compute them: one for each head, by powers of the next
// smaller power of two and, for the heads beyond it, of every other one of the next. Internal to planner/realize.
#pragma once

#include "planner/realize/torch_words.h"

namespace stowage::torch_eager {

// The locals of the function: whoever calls it lets go of `base` to `extra_powers` when that function returns.
struct AlibiSlopes {
  Ref base, powers, slopes, extra_base, extra_powers;
};

AlibiSlopes MakeAlibiSlopes(TorchWords& t);

}  // namespace stowage::torch_eager

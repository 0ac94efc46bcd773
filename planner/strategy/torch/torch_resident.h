// All weights on the GPU, as transformers loads them with device_map="cuda". Runtime: torch.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy TorchResidentStrategy();  // "torch-resident"; takes no parameters

}  // namespace stowage

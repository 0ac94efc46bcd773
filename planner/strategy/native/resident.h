// resident: every weight in the device's arena, nothing streamed. Native runtime.
#pragma once

#include "planner/strategy/strategy.h"

namespace stowage {

Strategy ResidentStrategy();

}  // namespace stowage

// What libraries take through torch's allocator, once per handle and stream, at their first use, and keep.
#pragma once

#include "planner/base/units.h"

namespace stowage {

// cuBLAS, with its default workspace configuration (CublasHandlePool.cpp): 32 MiB on compute capability 9.x, 10.x and
// 12.x, else 2 * 4096 KiB + 8 * 16 KiB = 8,519,680 B. `compute_capability` is 90 for 9.0; 0 (no GPU) takes nothing.
// It is below 10 MiB on most cards, so it lies in a segment of 20 MiB whose rest serves other large tensors.
constexpr Bytes CublasWorkspace(int compute_capability) {
  if (compute_capability == 0) return Bytes(0);
  const int major = compute_capability / 10;
  return major == 9 || major == 10 || major == 12 ? Bytes(32 << 20) : Bytes(8'519'680);
}

}  // namespace stowage

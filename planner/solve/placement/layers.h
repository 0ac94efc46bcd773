// Bounds for kLatency when the CPU computes and host memory binds: with how much the CPU may compute as a part of the
// state. Without that constraint a CPU as cheap as streaming, at the prices of the day, computes all that does not fit,
// and no device pays for its staging. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/solve/placement/bounds.h"
#include "planner/solve/placement/tables.h"

namespace stowage::placement {

// Host memory in levels: a unit the CPU computes takes as many as it surely fills. Layer k of a state is the value when
// units of at most k levels are computed there, before it or after it.
struct Levels {
  std::int64_t bytes = 0;  // of one; 0: layers are of no use
  int shift = 0;           // a layer's values are in units of 2^shift picoseconds, rounded down

  explicit operator bool() const { return bytes > 0; }
  int Of(std::int64_t host_bytes) const { return static_cast<int>(host_bytes / bytes); }
  Time TimeOf(double value) const;  // kInfinite for infinity
};

// A level is the commonest unit; with `fine` it may be a half or a third of it, if others then fill theirs better. For
// times below `below`.
Levels LevelsOf(const Tables& t, bool fine, Time below);

using LayeredStates = StatesOf<double>;  // infinity: not in the band

// The bounds of a problem leave few ways that can still lead below a value. Layers are made of these alone.
struct Band {
  const States& before;
  const States& rest;
  Time below;  // of what came before and what remains together
};

// What remains from each state, and what came before it.
LayeredStates LayeredRest(const Tables& t, Levels levels, const Band& band);
LayeredStates LayeredProgress(const Tables& t, Levels levels, const Band& band);

}  // namespace stowage::placement

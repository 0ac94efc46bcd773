// MiniMalloc's hard instances, for tests and benchmarks: $STOWAGE_SHARED/data/minimalloc/<letter>.1048576.csv.
#pragma once

#include <optional>
#include <vector>

#include "planner/solve/pack/pack.h"

namespace stowage {

inline constexpr Bytes kMinimallocCapacity{1'048'576};

// Instance 'A' to 'K'. Nothing where STOWAGE_SHARED is unset or has no such file.
std::optional<std::vector<PackItem>> MinimallocInstance(char letter);

// The independent judge: no two items that live together overlap, all aligned, none beyond `size`.
bool IsPacked(const std::vector<PackItem>& items, const std::vector<Bytes>& offsets, Bytes size, Bytes alignment);

}  // namespace stowage

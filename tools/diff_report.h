// What `inspect diff` prints.
#pragma once

#include <string>

#include "planner/plan/diff.h"

namespace stowage {

// Facts, a table of pools and arenas, then every tensor and buffer that is not as it was; "the plans are equal" if none.
std::string DiffText(const PlanDiff& diff);
// {"equal", "facts": [{"name", "before", "after"}], "pools": {pool: {"before_bytes", "after_bytes"}},
//  "arenas": {"gpu0/weights": {…}}, "refused_differ",
//  "tensors": [{"name", "change", "before", "after", "before_bytes", "after_bytes"}], "buffers": likewise};
// what a plan does not have is null.
std::string DiffJson(const PlanDiff& diff);

// The first difference as a sentence: "model.norm.weight moved from …"; "" for equal plans.
std::string FirstDifference(const PlanDiff& diff);

}  // namespace stowage

// plan.json: a plan as text that can be stored, compared and read back.
//
//   {"stowage_plan": 1, "model": …, "strategy": …, "runtime": …, "request": {…},
//    "budgets": {pool: bytes}, "reservations": [{"pool", "bytes"}],
//    "arenas": [{"name", "pool", "kind", "bytes", "lower_bound"}],
//    "tensors": [{"name", "dtype", "shape", "scales_bytes", "device", "block", "tied_to",
//                 "parts": [{"where", "phases", "pool", "arena", "offset", "rows": [begin, end]}]}],
//    "placements": [{"name", "arena", "offset", "bytes", "phase", "alive": [first, last]}],
//    "refused": […]}
// Empty strings, zero scales, "*" phases and whole-tensor row ranges are left out.
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "planner/plan/plan.h"

namespace stowage {

std::string WritePlanJson(const Plan& plan);

// kInvalidInput names the field and what it holds; an unknown version is refused with both versions named. What is read
// is not checked beyond its form: that is CheckPlan's business.
Result<Plan> ReadPlanJson(std::string_view text);

}  // namespace stowage

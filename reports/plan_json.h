// `plan --json`:
//
//   {"model": {"name", "family", "parameters", "weights_bytes", "dtype", "layers", "kv_bytes_per_token", "source",
//              "notes": [...]},
//    "machine": {"name", "budget_bytes": {pool: n}, "reserved": [{"pool", "name", "bytes", "origin", "source"}],
//                "assumptions": [...], "smallest_budget_bytes": {strategy: n}},               of gpu0
//    "request": {"batch", "prompt_tokens", "new_tokens", "dtype", "kv", "basis"},   simulated, closed forms or sizes only
//    "strategies": [{"name", "fits", "peak_bytes": {pool: n}, "limit", "why_not",
//                    "seconds": {"first_token", "per_token", "low": {…}, "high": {…}}}],      low and high of the
//                    machine's intervals, where it has any
//    "formats": [{"dtype", "about", "weights_bytes", "needed_bytes", "fits", "resident_bytes"}],     number formats on
//                gpu0; resident_bytes of the weights: all, what the chosen strategy would keep, or null
//    "chosen": name or null, "plan": the plan or null,
//    "smallest_budget": {"pool", "bytes", "strategy"}}                                    only when nothing fits
#pragma once

#include <string>
#include <string_view>

#include "planner/base/result.h"
#include "reports/plan_report.h"

namespace stowage {

// `plan_json`: the chosen plan as JSON text; empty for none. kInternal if it does not parse.
Result<std::string> PlanJson(const PlanReport& report, std::string_view plan_json);

}  // namespace stowage

// `simulate --json`:
//
//   {"model", "request": as `plan --json` has them, "strategy",
//    the members of timeline_json.h,
//    "range": {"total_s": {"low", "expected", "high"}, "phases": {name: {"low", "expected", "high"}},
//              "peak_bytes": {pool: {"low", "expected", "high"}}},     only where the machine's rates have intervals
//    "would_help": [sentence, …]}
#pragma once

#include <string>

#include "reports/simulation_report.h"

namespace stowage {

std::string SimulationJson(const SimulationReport& report);

}  // namespace stowage

// plan.json: a plan with all that is needed to lower it again, as text that can be stored, compared and read back.
//
//   {"stowage_plan": 2,
//    "model": {"name", "source", "parameters", "weights_bytes", "tensors", "tensors_hash", "config": {name: text}},
//    "machine": {…},                                                      (planner/machine/machine_json.h)
//    "request": {"batch", "prompt_tokens", "new_tokens", "dtype", "quantization", "kv", "all_logits",
//                "load", "load_dtype", "page_cache"},
//    "strategy": "ring:268435456:rows", "runtime": "native",
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
#include "planner/machine/machine.h"
#include "planner/plan/fingerprint.h"
#include "planner/plan/plan.h"

namespace stowage {

struct PlanFile {
  Plan plan;
  ModelFingerprint model;
  Machine machine;
};

std::string WritePlanJson(const PlanFile& file);

// The text of `path`, which is hostile: numbers are bounded so that no sum of sizes overflows, memory is a small
// multiple of the text. kInvalidInput with line and column; an unknown version is refused with both versions named.
// The machine has passed CheckMachine. The plan is not checked beyond its form: that is CheckPlan's business.
Result<PlanFile> ReadPlanJson(std::string_view path, std::string_view text);

}  // namespace stowage

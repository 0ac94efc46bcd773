// What `check` prints and writes: a table with what failed and why, the same for a pull request, JUnit XML, JSON.
#pragma once

#include <string>

#include "reports/memory_check.h"

namespace stowage {

// One line a pool; below it, for each that failed, the step and every tensor that grew, appeared or moved.
std::string CheckText(const MemoryCheck& check, bool colour);

// A summary line, a table, then what failed, folded. For a comment on a pull request.
std::string CheckMarkdown(const MemoryCheck& check);

// One testsuite "memory"; a testcase for each pool of each case (classname: the case), a failure for each that failed.
std::string CheckJunit(const MemoryCheck& check);

// {"ok", "failed", "cases": [{"name", "what", "ok", "problem", "notes",
//   "pools": [{"pool", "ok", "grew", "over_budget", "before_bytes", "after_bytes", "allowed_bytes", "budget_bytes",
//              "before": {"phase", "step"}, "after": {"phase", "step"},
//              "changes": [{"name", "kind", "change", "before_bytes", "after_bytes", "moved"}]}]}],
//  "unused": [names]}; what is not there is null.
std::string CheckJson(const MemoryCheck& check);

}  // namespace stowage

// The cases of `check`: what a team wants to keep fitting.
//
//   {"stowage_cases": 1,
//    "tolerance": "1%",
//    "cases": [
//     {"name": "llama-8b on 15 GB", "model": "llama-8b", "gpu": "15GB", "cpu": "30GB", "strategy": "ring",
//      "prompt": 512, "new": 128, "budget": {"gpu0": "15GB", "host": "3GB"}, "tolerance": "64MiB"}
//    ]}
//
//   name, model, strategy             required
//   gpu, cpu                          required without `machine`. `gpu` may be a list; sizes and names as on the command
//                                     line, but not "auto": a baseline is of a named machine
//   machine                           a machine file (docs/machine.md)
//   disk                              "1TB" unless given
//   alloc_conf                        of torch strategies: "expandable_segments:True"
//   dtype, kv, batch, prompt, new     as on the command line; so are
//   load, load_dtype, page_cache
//   budget                            by pool: what its peak may not pass, whatever the baseline says
//   tolerance                         how much a peak may grow: "2%", "64MiB" or a number of bytes; else that of the
//                                     file; else nothing
// A model or machine that is a path counts from the folder of the cases file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planner/base/result.h"
#include "reports/memory_check.h"
#include "tools/common/task.h"

namespace stowage {

struct CheckCase {
  std::string name;
  std::string what;   // CaseRecord::what
  std::string place;  // "stowage.json:4: case 'llama-8b on 15 GB'", for errors
  TaskOptions task;
  std::string strategy;
  CaseLimits limits;
};

// "2%", "64MiB", "4096".
Result<Tolerance> ParseTolerance(std::string_view text);

// `path` names the text in errors and gives the folder. kInvalidInput with line and column.
Result<std::vector<CheckCase>> ReadCases(const std::string& path, std::string_view text);

// Lowers the case in full, checks plan and schedule, simulates. kInfeasible when it does not fit, kOutOfMemory when it
// runs out of memory: these fail the check. Other errors carry the place.
Result<CaseRecord> RunCase(const CheckCase& c);

}  // namespace stowage

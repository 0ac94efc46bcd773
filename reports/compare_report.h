// `simulate --compare`: strategies side by side on one machine, and the best of each column.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/plan_report.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct ComparedStrategy {
  std::string name;  // as it was asked for, with the parameters that were chosen
  std::string runtime;
  std::string why_not;               // why there is no timeline, or that it runs out of memory; empty: it runs
  std::optional<Timeline> timeline;  // of the whole run
  std::optional<Timeline> low, high;
  bool Runs() const { return why_not.empty(); }
};

struct CompareReport {
  ModelLine model;
  Request request;
  std::string machine;
  std::vector<ComparedStrategy> strategies;
};

// A row each: peaks of the pools that any of them uses, seconds of each phase, of a decode pass, in all, and low to high.
// The best of a column, and what equals it, has a '*'.
std::string CompareText(const CompareReport& report, bool colour);

// {"model", "request", "machine", "strategies": [{"name", "runtime", "why_not", "best": [column, …],
//   the members of timeline_json.h, "range_s": {"low", "high"}}]}
std::string CompareJson(const CompareReport& report);

}  // namespace stowage

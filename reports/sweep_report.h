// `simulate --sweep`: strategies over a range of budgets, and which of the results nothing beats.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "reports/plan_report.h"
#include "reports/timeline_plot.h"

namespace stowage {

struct SweepPoint {
  Bytes budget;          // of the pool that is swept
  std::string strategy;  // with its parameters
  Bytes gpu, host;       // peaks of gpu0 and of the host
  Seconds time;          // prefill and all decode passes
};

struct SweepReport {
  ModelLine model;
  Request request;
  std::string machine;  // at the first budget
  std::string pool;     // "gpu0", "host"
  std::vector<Bytes> budgets;
  std::vector<SweepPoint> points;  // what fits, by budget and then best first
  std::vector<std::size_t> front;  // indices of the points that no other beats in (gpu, time, host)
};

// The front as a table by GPU memory, and a plot of time (logarithmic) over GPU memory: letters are the strategies of
// points on the front, dots the other points.
std::string SweepText(const SweepReport& report, const PlotOptions& plot);

// {"model", "request", "machine", "pool", "budgets": [n, …], "points": [{"budget_bytes", "strategy", "gpu_bytes",
//  "host_bytes", "seconds", "pareto": true or false}]}
std::string SweepJson(const SweepReport& report);

}  // namespace stowage

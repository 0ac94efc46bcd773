// Everything `simulate` shows of one strategy, as plain data; simulation_text.h, simulation_json.h, trace_json.h and
// html_page.h write it down.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/machine/machine.h"
#include "planner/model/request.h"
#include "planner/schedule/schedule.h"
#include "reports/plan_report.h"
#include "sim/timeline/timeline.h"

namespace stowage {

struct SimulationReport {
  ModelLine model;
  Request request;
  Machine machine;
  std::string strategy;  // with its parameters: "ring:117440512"
  Schedule schedule;
  Timeline timeline;                     // of the schedule on the machine, with spans and curves
  std::optional<Timeline> low, high;     // at the ends of the machine's intervals; absent when there are none
  std::vector<std::string> would_help;   // sentences
  std::vector<StrategyLine> strategies;  // all of them, best first; html_page.h only
};

}  // namespace stowage

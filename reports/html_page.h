// `simulate --html`: one page that needs nothing else: memory per pool over time with its peak explained, resource lanes
// with idle time in view, files arriving while loading, all strategies, the machine and its assumptions.
//
// The page holds its data as JSON and a script that draws it (page/). Its size is bounded whatever the schedule: each
// stretch of time that can be chosen is kPageBins bins wide, or step by step where it has at most kPageJobs of them.
#pragma once

#include <cstddef>
#include <string>

#include "reports/simulation_report.h"

namespace stowage {

inline constexpr std::size_t kPageBins = 600;
inline constexpr std::size_t kPageJobs = 3000;

// The same report gives the same bytes. Names from files are written so that none can become markup or script.
std::string HtmlPage(const SimulationReport& report);

}  // namespace stowage

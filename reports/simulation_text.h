// The `simulate` tool's screen: what was simulated, the timeline (timeline_text.h) with low and high, plots, what would
// help.
#pragma once

#include <string>

#include "reports/simulation_report.h"
#include "reports/timeline_plot.h"

namespace stowage {

std::string SimulationText(const SimulationReport& report, const PlotOptions& plot);

}  // namespace stowage

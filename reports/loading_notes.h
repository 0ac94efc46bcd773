// What is assumed of files and of the page cache while a schedule loads.
#pragma once

#include <string>
#include <vector>

#include "reports/simulation_report.h"

namespace stowage {

// Sentences; none when nothing is read while loading.
std::vector<std::string> LoadingNotes(const SimulationReport& report);

}  // namespace stowage

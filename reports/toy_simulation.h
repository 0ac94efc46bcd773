// A small simulation written by hand, for the tests of this folder: two shards are read and copied, three tokens are
// decoded while the next one's weights are copied.
//
//   disk0     [read a][read b]
//   gpu0.h2d         [copy a][copy b]      [copy 0][copy 1][copy 2]
//   gpu0.sm                                [ mm 0 ][ mm 1 ][ mm 2 ]
//   seconds   0      1       2       3     4       5       6      7
#pragma once

#include "reports/simulation_report.h"

namespace stowage {

SimulationReport ToySimulation();

}  // namespace stowage

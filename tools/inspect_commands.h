// The subcommands of `inspect`, one file each. A new one: a function here, its file, a line in inspect.cc's table. Each
// gets the arguments after its name, argv[0] being the name itself.
#pragma once

#include "planner/base/result.h"

namespace stowage {

Result<int> InspectSummary(int argc, char** argv);
Result<int> InspectTree(int argc, char** argv);
Result<int> InspectTensors(int argc, char** argv);
Result<int> InspectHeader(int argc, char** argv);
Result<int> InspectKv(int argc, char** argv);
Result<int> InspectMachine(int argc, char** argv);
Result<int> InspectDump(int argc, char** argv);
Result<int> InspectExplain(int argc, char** argv);
Result<int> InspectDiff(int argc, char** argv);
Result<int> InspectTrace(int argc, char** argv);

}  // namespace stowage

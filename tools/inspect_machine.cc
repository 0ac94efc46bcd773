#include <optional>
#include <string>

#include "planner/machine/build_machine.h"
#include "planner/machine/machine_json.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/options.h"
#include "tools/common/task.h"
#include "tools/inspect_commands.h"

namespace stowage {

Result<int> InspectMachine(int argc, char** argv) {
  MachineSpec spec;
  bool json = false;
  CommandLine line("inspect machine", "what the options of a machine stand for: budgets, rates, where each is from");
  AddMachineOptions(line, &spec);
  AddJsonOption(line, &json);
  line.Example("inspect machine --gpu t4 --cpu 30GB", "as a table");
  line.Example("inspect machine --gpu t4 --cpu 30GB --json > mine.json", "to edit, and to give to --machine");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const Machine machine, MachineOf(spec));
  STOWAGE_RETURN_IF_ERROR(Print(json ? WriteMachineJson(machine) : Describe(machine)));
  return 0;
}

}  // namespace stowage

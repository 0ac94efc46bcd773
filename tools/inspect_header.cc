#include <optional>
#include <string>

#include "planner/formats/safetensors.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/model_report.h"

namespace stowage {

Result<int> InspectHeader(int argc, char** argv) {
  std::string path;
  bool json = false;
  CommandLine line("inspect header", "the tensors of one safetensors file, from its header alone");
  line.Positional("FILE", &path, "a .safetensors file");
  line.Require("FILE");
  AddJsonOption(line, &json);
  line.Example("inspect header model-00001-of-00004.safetensors", "offsets, bytes, dtypes, names, shapes");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const SafetensorsHeader header, ReadSafetensorsHeader(path));
  STOWAGE_RETURN_IF_ERROR(Print(json ? HeaderJson(header) : HeaderText(header)));
  return 0;
}

}  // namespace stowage

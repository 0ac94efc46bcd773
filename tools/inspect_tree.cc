#include <optional>
#include <string>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/model_report.h"

namespace stowage {

Result<int> InspectTree(int argc, char** argv) {
  std::string what;
  Request request;
  bool json = false;
  CommandLine line("inspect tree", "the modules of a model with their tensors");
  line.Positional("MODEL", &what, "zoo name, folder, config.json, safetensors file or index");
  line.Require("MODEL");
  AddFormatOption(line, &request);
  AddJsonOption(line, &json);
  line.Example("inspect tree llama-8b", "of a model known by name");
  line.Example("inspect tree DIR --json", "of a folder, for programs");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const Model model, LoadInFormat(what, request));
  STOWAGE_RETURN_IF_ERROR(Print(json ? TreeJson(model) : TreeText(model)));
  return 0;
}

}  // namespace stowage

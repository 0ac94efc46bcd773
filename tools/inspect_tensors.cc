#include <optional>
#include <string>

#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/model_report.h"

namespace stowage {

Result<int> InspectTensors(int argc, char** argv) {
  std::string what;
  Request request;
  bool json = false;
  CommandLine line("inspect tensors", "the tensors a checkpoint of the model holds");
  line.Positional("MODEL", &what, "zoo name, folder, config.json, safetensors file or index");
  line.Require("MODEL");
  AddFormatOption(line, &request);
  AddJsonOption(line, &json);
  line.Example("inspect tensors llama-8b", "of a model known by name");
  line.Example("inspect tensors DIR --json", "of a folder, for programs");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(const Model model, LoadInFormat(what, request));
  STOWAGE_RETURN_IF_ERROR(Print(json ? TensorsJson(model) : TensorsText(model)));
  return 0;
}

}  // namespace stowage

#include <optional>
#include <string>

#include "planner/quant/quantize.h"
#include "tools/common/command_line.h"
#include "tools/common/exit.h"
#include "tools/common/model_source.h"
#include "tools/common/options.h"
#include "tools/inspect_commands.h"
#include "tools/model_report.h"

namespace stowage {

Result<int> InspectSummary(int argc, char** argv) {
  std::string what;
  Request request;
  bool json = false;
  CommandLine line("inspect summary", "parameters, bytes, largest parts, ties and cache of a model");
  line.Positional("MODEL", &what, "zoo name, folder, config.json, safetensors file or index");
  line.Require("MODEL");
  AddRequestOptions(line, &request);
  AddJsonOption(line, &json);
  line.Example("inspect summary llama-8b", "of a model known by name");
  line.Example("inspect summary llama-8b --dtype q4_k_m", "as llama.cpp would quantize it");
  line.Example("inspect summary DIR --json", "of a folder, for programs");
  if (const std::optional<int> exit_code = line.Parse(argc, argv)) return *exit_code;
  STOWAGE_TRY(Model model, LoadNamedModel(what));
  STOWAGE_RETURN_IF_ERROR(ApplyFormat(model, request));
  if (!request.prompt_given && model.forward.forced_tokens > 0) request.prompt_tokens = model.forward.forced_tokens;
  STOWAGE_RETURN_IF_ERROR(Print(json ? SummaryJson(model, request) : SummaryText(model, request)));
  return 0;
}

}  // namespace stowage
